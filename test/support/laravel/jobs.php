<?php
// Laravel's own queue and worker on Redis. Reads commands from standard input, one JSON object a line, and answers on standard output, one
// JSON object a line.
require 'Illuminate/Queue/autoload.php';
require 'Illuminate/Events/autoload.php';

use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Events\Dispatcher;
use Illuminate\Queue\Capsule\Manager;
use Illuminate\Queue\Queue;
use Illuminate\Queue\Worker;
use Illuminate\Queue\WorkerOptions;
use Illuminate\Redis\RedisManager;

class Work
{
    public static array $worked = [];
    /** Between which two times each job was begun, in ms. */
    public static array $times = [];
    public static float $fromMs = 0;

    public function fire($job, array $data): void
    {
        if ($data['name'] === 'die') {
            posix_kill(getmypid(), SIGKILL);
        }
        self::$worked[] = $data['name'];
        self::$times[] = [self::$fromMs, self::$fromMs = nowMs()];
        if ($data['name'] === 'fail' && $job->attempts() === 1) {
            throw new RuntimeException('to be tried again');
        }
        $job->delete();
    }
}

function nowMs(): float
{
    return microtime(true) * 1000;
}

class SilentHandler implements ExceptionHandler
{
    public function report(Throwable $e) {}
    public function shouldReport(Throwable $e) { return false; }
    public function render($request, Throwable $e) {}
    public function renderForConsole($output, Throwable $e) {}
}

$url = parse_url(getenv('JOBS_REDIS'));
$manager = new Manager();
$container = $manager->getContainer();
$container->instance('redis', new RedisManager($container, 'phpredis', [
    'options' => ['prefix' => 'laravel_database_'],
    'default' => ['host' => $url['host'], 'port' => $url['port'], 'database' => (int) ltrim($url['path'] ?? '0', '/')],
]));
$manager->addConnection(['driver' => 'redis', 'queue' => 'default', 'connection' => 'default', 'retry_after' => 3600], 'default');
$queues = $manager->getQueueManager();
$worker = new Worker($queues, new Dispatcher($container), new SilentHandler(), fn () => false);

while (($line = fgets(STDIN)) !== false) {
    $ask = json_decode($line, true);
    $connection = $manager->getConnection();
    // As Horizon, or a later Laravel, puts a time of its own into each payload.
    Queue::createPayloadUsing(null);
    foreach ($ask['payload'] ?? [] as $field => $isNow) {
        Queue::createPayloadUsing(fn () => [$field => $field === 'pushedAt' ? (string) microtime(true) : time()]);
    }
    [$times, Work::$times] = [[], []];
    if ($ask['do'] === 'push') {
        foreach ($ask['names'] as $name) {
            $data = ['name' => $name];
            $fromMs = nowMs();
            isset($ask['delay'])
                ? $connection->later($ask['delay'], Work::class, $data, $ask['queue'])
                : $connection->push(Work::class, $data, $ask['queue']);
            $times[] = [$fromMs, nowMs()];
        }
    } elseif ($ask['do'] === 'work') {
        Work::$fromMs = nowMs();
        $options = new WorkerOptions('default', $ask['delay'] ?? 0, 128, 60, 0.01, 3, false, true, $ask['jobs']);
        $worker->daemon('default', $ask['queue'], $options);
        $times = Work::$times;
    } elseif ($ask['do'] === 'purge') {
        $connection->clear($ask['queue']);
    }
    echo json_encode(['worked' => Work::$worked, 'times' => $times]), "\n";
}
