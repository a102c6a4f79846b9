# Reads commands from standard input, one JSON object a line, and answers on standard output, one JSON object a line.
require "json"
require "sidekiq/api"
require_relative "jobs"

$stdout.sync = true
STDIN.each_line do |line|
  ask = JSON.parse(line)
  queue = ask["queue"]
  answer =
    case ask["do"]
    when "push" then { jids: ask["args"].map { |arg| Work.set(queue: queue).perform_async(arg) } }
    when "pushIn" then { jids: [Work.set(queue: queue).perform_in(ask["seconds"], nil)] }
    when "ask" then { latency: Sidekiq::Queue.new(queue).latency, size: Sidekiq::Queue.new(queue).size }
    when "sets" then { scheduled: Sidekiq::ScheduledSet.new.size, retries: Sidekiq::RetrySet.new.size }
    when "clear" then { cleared: !!Sidekiq::Queue.new(queue).clear }
    end
  puts JSON.generate(answer)
end
