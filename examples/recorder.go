// Records what happens to jobs with queue-latency. Go 1.22 or later, standard library only.
//
//	recorder := NewRecorder("http://127.0.0.1:4000", "")
//	recorder.Record(Event{Type: "ENQUEUED", Queue: "mail", JobID: "42"})
//	recorder.Close(5 * time.Second)
//
// As a program it reads lines of TYPE QUEUE JOB_ID, such as "ENQUEUED mail 42":
//
//	go run recorder.go http://127.0.0.1:4000 < events
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log"
	mathrand "math/rand"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const mutation = `mutation ($events: [QueueEventInput!]!, $batchId: ID) {
  recordEvents(events: $events, batchId: $batchId, onInvalid: SKIP) { rejected { eventIndex field reason } }
}`

const (
	batchEvents       = 1000
	maxBufferedEvents = 100_000
	flushEvery        = 200 * time.Millisecond
	requestTimeout    = 10 * time.Second
	giveUpAfter       = 4 * time.Minute // less than the server's EVENT_WINDOW
)

var retriedCodes = []string{"UNAUTHENTICATED", "FORBIDDEN", "THROTTLED", "SERVICE_UNAVAILABLE", "INTERNAL_SERVER_ERROR"}

// Event is one thing that happened to one job, as the GraphQL type QueueEventInput.
type Event struct {
	Type        string `json:"type"`
	Queue       string `json:"queue"`
	JobID       string `json:"jobId"`
	Attempt     int    `json:"attempt"`
	At          string `json:"at"`
	AvailableAt string `json:"availableAt,omitempty"`
}

// Recorder sends events in batches from a goroutine of its own.
type Recorder struct {
	url, token        string
	client            http.Client
	mutex             sync.RWMutex
	isClosed          bool
	events            chan Event
	closing           context.Context
	close             context.CancelFunc
	done              chan struct{}
	Recorded, Dropped atomic.Int64
}

// NewRecorder starts a recorder; the token may be empty.
func NewRecorder(url, token string) *Recorder {
	closing, cancel := context.WithCancel(context.Background())
	r := &Recorder{
		url:     strings.TrimSuffix(url, "/") + "/graphql",
		token:   token,
		client:  http.Client{Timeout: requestTimeout},
		events:  make(chan Event, maxBufferedEvents),
		closing: closing,
		close:   cancel,
		done:    make(chan struct{}),
	}
	go r.run()
	return r
}

// Record never blocks: without a place for the event it is dropped and counted.
func (r *Recorder) Record(event Event) {
	if event.At == "" {
		event.At = time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	}
	r.mutex.RLock()
	defer r.mutex.RUnlock()
	if r.isClosed {
		r.Dropped.Add(1)
		return
	}
	select {
	case r.events <- event:
	default:
		r.Dropped.Add(1)
	}
}

// Close sends what is left, for so long at most.
func (r *Recorder) Close(timeout time.Duration) {
	r.mutex.Lock()
	if !r.isClosed {
		r.isClosed = true
		close(r.events)
	}
	r.mutex.Unlock()
	late := time.AfterFunc(timeout, r.close)
	<-r.done
	late.Stop()
	r.close()
}

func (r *Recorder) run() {
	defer close(r.done)
	for event := range r.events {
		batch := []Event{event}
		timer := time.NewTimer(flushEvery)
	collect:
		for len(batch) < batchEvents {
			select {
			case next, isOpen := <-r.events:
				if !isOpen {
					break collect
				}
				batch = append(batch, next)
			case <-timer.C:
				break collect
			}
		}
		timer.Stop()
		r.deliver(batch)
	}
}

type answer struct {
	Data *struct {
		RecordEvents *struct{ Rejected []json.RawMessage }
	}
	Errors []struct {
		Message    string
		Extensions struct{ Code string }
	}
}

// The same body each time: the server knows the batch by its id, and counts it once.
func (r *Recorder) deliver(batch []Event) {
	id := make([]byte, 16)
	rand.Read(id)
	variables := map[string]any{"events": batch, "batchId": hex.EncodeToString(id)}
	body, _ := json.Marshal(map[string]any{"query": mutation, "variables": variables})
	giveUpAt := time.Now().Add(giveUpAfter)
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		got, retryAfter := r.post(body)
		if got != nil && got.Data != nil && got.Data.RecordEvents != nil {
			rejected := len(got.Data.RecordEvents.Rejected)
			r.Recorded.Add(int64(len(batch) - rejected))
			r.Dropped.Add(int64(rejected))
			return
		}
		if got != nil && len(got.Errors) > 0 && !slices.Contains(retriedCodes, got.Errors[0].Extensions.Code) {
			log.Printf("batch refused: %s", got.Errors[0].Message)
			r.Dropped.Add(int64(len(batch)))
			return
		}
		pause := max(retryAfter, time.Duration((0.5+mathrand.Float64())*float64(wait)))
		if time.Now().Add(pause).After(giveUpAt) || !r.pause(pause) {
			log.Print("batch given up: no answer in time")
			r.Dropped.Add(int64(len(batch)))
			return
		}
	}
}

// False when the recorder has no more time.
func (r *Recorder) pause(length time.Duration) bool {
	select {
	case <-time.After(length):
		return true
	case <-r.closing.Done():
		return false
	}
}

func (r *Recorder) post(body []byte) (*answer, time.Duration) {
	request, err := http.NewRequestWithContext(r.closing, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return nil, 0
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/graphql-response+json")
	if r.token != "" {
		request.Header.Set("Authorization", "Bearer "+r.token)
	}
	response, err := r.client.Do(request)
	if err != nil {
		return nil, 0
	}
	defer response.Body.Close()
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
	var got answer
	if json.NewDecoder(response.Body).Decode(&got) != nil {
		return nil, time.Duration(seconds) * time.Second
	}
	return &got, time.Duration(seconds) * time.Second
}

func main() {
	recorder := NewRecorder(os.Args[1], os.Getenv("QUEUE_LATENCY_TOKEN"))
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) == 3 {
			recorder.Record(Event{Type: words[0], Queue: words[1], JobID: words[2]})
		}
	}
	recorder.Close(time.Minute)
	fmt.Printf("recorded %d dropped %d\n", recorder.Recorded.Load(), recorder.Dropped.Load())
}
