/**
 * Tables of the job systems for Ruby on Rails, which cannot be installed here, as their migrations make them: the columns and
 * indexes that matter to a reader, written down from their documentation and sources. The rows are ours, too.
 */
export const fixtures = {
  good_job: `
    CREATE TABLE good_jobs (
      id uuid PRIMARY KEY DEFAULT gen_random_uuid(), queue_name text, priority integer, serialized_params jsonb,
      scheduled_at timestamp(6), performed_at timestamp(6), finished_at timestamp(6), error text,
      created_at timestamp(6) NOT NULL DEFAULT timezone('UTC', now()), updated_at timestamp(6) NOT NULL DEFAULT timezone('UTC', now())
    );
    CREATE INDEX index_good_jobs_on_queue_name_and_scheduled_at ON good_jobs (queue_name, scheduled_at) WHERE finished_at IS NULL;
    CREATE INDEX index_good_jobs_on_scheduled_at ON good_jobs (scheduled_at) WHERE finished_at IS NULL;
    CREATE INDEX index_good_jobs_jobs_on_priority_created_at_when_unfinished ON good_jobs (priority DESC NULLS LAST, created_at)
      WHERE finished_at IS NULL;
    CREATE INDEX index_good_jobs_jobs_on_finished_at_only ON good_jobs (finished_at) WHERE finished_at IS NOT NULL;
    CREATE TABLE good_job_settings (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), key text UNIQUE, value jsonb);`,
  solid_queue: `
    CREATE TABLE solid_queue_ready_executions (
      id bigserial PRIMARY KEY, job_id bigint NOT NULL UNIQUE, queue_name text NOT NULL, priority integer NOT NULL DEFAULT 0,
      created_at timestamp(6) NOT NULL
    );
    CREATE INDEX index_solid_queue_poll_all ON solid_queue_ready_executions (priority, job_id);
    CREATE INDEX index_solid_queue_poll_by_queue ON solid_queue_ready_executions (queue_name, priority, job_id);
    CREATE TABLE solid_queue_scheduled_executions (
      id bigserial PRIMARY KEY, job_id bigint NOT NULL UNIQUE, queue_name text NOT NULL, priority integer NOT NULL DEFAULT 0,
      scheduled_at timestamp(6) NOT NULL, created_at timestamp(6) NOT NULL DEFAULT timezone('UTC', now())
    );
    CREATE INDEX index_solid_queue_dispatch_all ON solid_queue_scheduled_executions (scheduled_at, priority, job_id);
    CREATE TABLE solid_queue_pauses (id bigserial PRIMARY KEY, queue_name text NOT NULL UNIQUE, created_at timestamp(6) NOT NULL);`,
  delayed_job: `
    CREATE TABLE delayed_jobs (
      id bigserial PRIMARY KEY, priority integer NOT NULL DEFAULT 0, attempts integer NOT NULL DEFAULT 0, handler text, last_error text,
      run_at timestamp(6), locked_at timestamp(6), failed_at timestamp(6), locked_by varchar, queue varchar,
      created_at timestamp(6) NOT NULL DEFAULT timezone('UTC', now()), updated_at timestamp(6) NOT NULL DEFAULT timezone('UTC', now())
    );
    CREATE INDEX delayed_jobs_priority ON delayed_jobs (priority, run_at);`,
  que: `
    CREATE TABLE que_jobs (
      priority smallint NOT NULL DEFAULT 100, run_at timestamptz NOT NULL DEFAULT now(), id bigserial PRIMARY KEY,
      job_class text NOT NULL DEFAULT 'Work', error_count integer NOT NULL DEFAULT 0, queue text NOT NULL DEFAULT 'default',
      finished_at timestamptz, expired_at timestamptz, job_schema_version integer DEFAULT 2
    );
    CREATE INDEX que_poll_idx ON que_jobs (job_schema_version, queue, priority, run_at, id)
      WHERE finished_at IS NULL AND expired_at IS NULL;`,
} as const;
