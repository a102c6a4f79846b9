# The job of the tests; its client and its worker both load it.
require "sidekiq"

class Work
  include Sidekiq::Worker

  def perform(what = nil)
    raise "asked to fail" if what == "fail"
  end
end
