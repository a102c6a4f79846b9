// Reads commands from standard input, one JSON object a line, and answers on standard output, one JSON object a line.
// Started with the URL of a Redis.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/hibiken/asynq"
)

type question struct {
	Do    string
	Queue string
	Delay float64
	// What the task is: one that fails, or that kills its server.
	Payload string
	Group   string
	Jobs    int
}

type quiet struct{}

func (quiet) Debug(...any) {}
func (quiet) Info(...any) {}
func (quiet) Warn(...any) {}
func (quiet) Error(...any) {}
func (quiet) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func server(redis asynq.RedisConnOpt, queue string, shutdown time.Duration) *asynq.Server {
	return asynq.NewServer(redis, asynq.Config{
		Concurrency:              1,
		Queues:                   map[string]int{queue: 1},
		Logger:                   quiet{},
		ShutdownTimeout:          shutdown,
		TaskCheckInterval:        10 * time.Millisecond,
		DelayedTaskCheckInterval: 100 * time.Millisecond,
		RetryDelayFunc:           func(int, error, *asynq.Task) time.Duration { return time.Hour },
	})
}

// Works this number of tasks, and answers when it began each, in ms.
func work(redis asynq.RedisConnOpt, queue string, jobs int) []int64 {
	began := make(chan int64, jobs)
	working := server(redis, queue, time.Second)
	left := jobs
	check(working.Start(asynq.HandlerFunc(func(_ context.Context, task *asynq.Task) error {
		left--
		if string(task.Payload()) == "die" {
			check(syscall.Kill(os.Getpid(), syscall.SIGKILL))
		}
		began <- time.Now().UnixMilli()
		if left == 0 {
			// As long as this one runs no other one is taken.
			working.Stop()
		}
		if string(task.Payload()) == "fail" {
			return errors.New("meant to fail")
		}
		return nil
	})))
	times := []int64{}
	for range jobs {
		times = append(times, <-began)
	}
	working.Shutdown()
	return times
}

// A server takes a task, and shuts down while it works it.
func interrupt(redis asynq.RedisConnOpt, queue string) {
	began := make(chan struct{}, 1)
	forever := make(chan struct{})
	working := server(redis, queue, time.Millisecond)
	check(working.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		began <- struct{}{}
		<-forever
		return nil
	})))
	<-began
	working.Shutdown()
}

func main() {
	redis, err := asynq.ParseRedisURI(os.Args[1])
	check(err)
	client, inspector := asynq.NewClient(redis), asynq.NewInspector(redis)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var asked question
		check(json.Unmarshal(lines.Bytes(), &asked))
		answer := map[string]any{}
		switch asked.Do {
		case "push":
			options := []asynq.Option{asynq.Queue(asked.Queue)}
			if asked.Delay > 0 {
				options = append(options, asynq.ProcessIn(time.Duration(asked.Delay*float64(time.Second))))
			}
			if asked.Group != "" {
				options = append(options, asynq.Group(asked.Group))
			}
			answer["atMs"] = time.Now().UnixMilli()
			_, err := client.Enqueue(asynq.NewTask("work", []byte(asked.Payload)), options...)
			check(err)
		case "work":
			answer["atMs"] = work(redis, asked.Queue, asked.Jobs)
		case "interrupt":
			interrupt(redis, asked.Queue)
		case "pause":
			check(inspector.PauseQueue(asked.Queue))
		case "resume":
			check(inspector.UnpauseQueue(asked.Queue))
		case "purge":
			_, err := inspector.DeleteAllPendingTasks(asked.Queue)
			check(err)
		case "latency":
			info, err := inspector.GetQueueInfo(asked.Queue)
			check(err)
			answer["latencyMs"] = info.Latency.Milliseconds()
			answer["size"] = info.Pending
		}
		check(json.NewEncoder(os.Stdout).Encode(answer))
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
