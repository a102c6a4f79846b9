# Records what happens to jobs with queue-latency. Ruby 3.0 or later, standard library only.
#
#   recorder = Recorder.new("http://127.0.0.1:4000", token: nil)
#   recorder.record("ENQUEUED", "mail", "42")
#   recorder.close
#
# As a program it reads lines of TYPE QUEUE JOB_ID, such as "ENQUEUED mail 42":
#
#   ruby recorder.rb http://127.0.0.1:4000 < events

require "json"
require "net/http"
require "securerandom"
require "time"
require "timeout"

# Sends events in batches from a thread of its own. `record` never blocks and never raises.
class Recorder
  MUTATION = <<~GRAPHQL
    mutation ($events: [QueueEventInput!]!, $batchId: ID) {
      recordEvents(events: $events, batchId: $batchId, onInvalid: SKIP) { rejected { eventIndex field reason } }
    }
  GRAPHQL
  BATCH_EVENTS = 1000
  MAX_BUFFERED_EVENTS = 100_000
  FLUSH_SECONDS = 0.2
  REQUEST_TIMEOUT_SECONDS = 10
  GIVE_UP_SECONDS = 240 # less than the server's EVENT_WINDOW
  RETRIED_CODES = %w[UNAUTHENTICATED FORBIDDEN THROTTLED SERVICE_UNAVAILABLE INTERNAL_SERVER_ERROR].freeze

  attr_reader :recorded, :dropped

  def initialize(url, token: nil)
    @uri = URI("#{url.chomp("/")}/graphql")
    @token = token
    @recorded = @dropped = 0
    @events = []
    @lock = Mutex.new
    @changed = ConditionVariable.new
    @deadline = nil # set by close
    @thread = Thread.new { run }
  end

  # `details` are attempt, at and availableAt, as in the GraphQL type QueueEventInput.
  def record(type, queue, job_id, **details)
    event = { type:, queue:, jobId: job_id.to_s, at: Time.now.utc.iso8601(3), **details }
    @lock.synchronize do
      if @deadline || @events.size >= MAX_BUFFERED_EVENTS
        @dropped += 1
      else
        @events << event
        @changed.signal if @events.size == BATCH_EVENTS
      end
    end
  end

  # Sends what is left, for so long at most.
  def close(timeout_seconds: 5)
    @lock.synchronize do
      @deadline = now + timeout_seconds
      @changed.signal
    end
    @thread.join
  end

  private

  def run
    loop do
      batch = @lock.synchronize do
        @changed.wait(@lock, FLUSH_SECONDS) if @deadline.nil? && @events.size < BATCH_EVENTS
        return if @deadline && @events.empty?

        @events.shift(BATCH_EVENTS)
      end
      deliver(batch) unless batch.empty?
    end
  end

  # The same body each time: the server knows the batch by its id, and counts it once.
  def deliver(batch)
    body = JSON.generate(query: MUTATION, variables: { events: batch, batchId: SecureRandom.uuid })
    give_up_at = now + GIVE_UP_SECONDS
    wait = 0.1
    loop do
      answer, retry_after = post(body)
      if (result = answer&.dig("data", "recordEvents"))
        rejected = result["rejected"].size
        return count(batch.size - rejected, rejected)
      end
      error = answer&.dig("errors", 0)
      if error && !RETRIED_CODES.include?(error.dig("extensions", "code"))
        warn "batch refused: #{error["message"]}"
        return count(0, batch.size)
      end
      seconds = [retry_after, wait * rand(0.5..1.5)].max
      wait = [2 * wait, 10].min
      unless pause(seconds, give_up_at)
        warn "batch given up: no answer in time"
        return count(0, batch.size)
      end
    end
  end

  def post(body)
    headers = { "content-type" => "application/json", "accept" => "application/graphql-response+json" }
    headers["authorization"] = "Bearer #{@token}" if @token
    limits = { open_timeout: REQUEST_TIMEOUT_SECONDS, read_timeout: REQUEST_TIMEOUT_SECONDS, max_retries: 0 }
    Net::HTTP.start(@uri.host, @uri.port, use_ssl: @uri.scheme == "https", **limits) do |http|
      response = http.post(@uri.path, body, headers)
      [JSON.parse(response.body), response["retry-after"].to_i]
    end
  rescue SystemCallError, SocketError, IOError, Timeout::Error, OpenSSL::SSL::SSLError, Net::HTTPBadResponse, JSON::ParserError
    [nil, 0]
  end

  # False when there is no time for another attempt.
  def pause(seconds, give_up_at)
    until_time = now + seconds
    @lock.synchronize do
      loop do
        return false if until_time > [give_up_at, @deadline].compact.min

        left = until_time - now
        return true if left <= 0

        @changed.wait(@lock, left)
      end
    end
  end

  def count(recorded, dropped)
    @lock.synchronize do
      @recorded += recorded
      @dropped += dropped
    end
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

if $PROGRAM_NAME == __FILE__
  recorder = Recorder.new(ARGV.fetch(0), token: ENV["QUEUE_LATENCY_TOKEN"])
  $stdin.each_line { |line| recorder.record(*line.split) }
  recorder.close(timeout_seconds: 60)
  puts "recorded #{recorder.recorded} dropped #{recorder.dropped}"
end
