// Reads commands from standard input, one JSON object a line, and answers on standard output, one JSON object a line.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
)

type args struct {
	Fail bool `json:"fail"`
}

func (args) Kind() string { return "work" }

type worker struct {
	river.WorkerDefaults[args]
}

func (*worker) Work(_ context.Context, job *river.Job[args]) error {
	if job.Args.Fail {
		return errors.New("meant to fail")
	}
	return nil
}

func (*worker) NextRetry(*river.Job[args]) time.Time { return time.Now().Add(time.Hour) }

type question struct {
	Do       string
	Queue    string
	Delay    float64
	Priority int
	Fail     bool
	Jobs     int
}

func client(pool *pgxpool.Pool, queues map[string]river.QueueConfig) *river.Client[pgx.Tx] {
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{})
	made, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Queues: queues, Workers: workers})
	check(err)
	return made
}

// Runs a worker of one queue, until it has worked this number of jobs.
func work(ctx context.Context, pool *pgxpool.Pool, queue string, jobs int) {
	working := client(pool, map[string]river.QueueConfig{queue: {MaxWorkers: 1}})
	events, cancel := working.Subscribe(river.EventKindJobCompleted, river.EventKindJobFailed)
	defer cancel()
	check(working.Start(ctx))
	for range jobs {
		<-events
	}
	check(working.Stop(ctx))
}

// A queue is in the table of queues when a worker of it has started.
func pause(ctx context.Context, pool *pgxpool.Pool, queue string) {
	working := client(pool, map[string]river.QueueConfig{queue: {MaxWorkers: 1}})
	check(working.Start(ctx))
	check(retried(func() error { return working.QueuePause(ctx, queue, nil) }))
	check(working.Stop(ctx))
}

func retried(try func() error) error {
	for {
		err := try()
		if !errors.Is(err, rivertype.ErrNotFound) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Args[1])
	check(err)
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	check(err)
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	check(err)
	inserter := client(pool, nil)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var asked question
		check(json.Unmarshal(lines.Bytes(), &asked))
		switch asked.Do {
		case "push":
			options := &river.InsertOpts{Queue: asked.Queue, Priority: asked.Priority + 1}
			if asked.Delay > 0 {
				options.ScheduledAt = time.Now().Add(time.Duration(asked.Delay * float64(time.Second)))
			}
			_, err = inserter.Insert(ctx, args{Fail: asked.Fail}, options)
			check(err)
		case "work":
			work(ctx, pool, asked.Queue, asked.Jobs)
		case "pause":
			pause(ctx, pool, asked.Queue)
		}
		fmt.Println("{}")
	}
}
