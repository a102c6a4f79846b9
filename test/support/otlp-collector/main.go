// The OTLP receiver of the OpenTelemetry Collector, over HTTP: it prints each batch of metrics and of spans that it accepts as a
// line of OTLP's JSON. Its first argument is the address to listen on.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
)

var printing sync.Mutex

func print(kind string, json []byte, err error) error {
	if err != nil {
		return err
	}
	printing.Lock()
	defer printing.Unlock()
	_, err = fmt.Printf("{%q:%s}\n", kind, json)
	return err
}

func main() {
	ctx := context.Background()
	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig()
	settings := map[string]any{"protocols": map[string]any{"http": map[string]any{"endpoint": os.Args[1]}}}
	must(confmap.NewFromStringMap(settings).Unmarshal(config))
	set := receiver.Settings{
		ID:                component.NewID(factory.Type()),
		TelemetrySettings: componenttest.NewNopTelemetrySettings(),
		BuildInfo:         component.NewDefaultBuildInfo(),
	}
	metrics, err := consumer.NewMetrics(func(_ context.Context, data pmetric.Metrics) error {
		json, err := (&pmetric.JSONMarshaler{}).MarshalMetrics(data)
		return print("metrics", json, err)
	})
	must(err)
	traces, err := consumer.NewTraces(func(_ context.Context, data ptrace.Traces) error {
		json, err := (&ptrace.JSONMarshaler{}).MarshalTraces(data)
		return print("traces", json, err)
	})
	must(err)
	ofMetrics, err := factory.CreateMetrics(ctx, set, config, metrics)
	must(err)
	ofTraces, err := factory.CreateTraces(ctx, set, config, traces)
	must(err)
	must(ofMetrics.Start(ctx, componenttest.NewNopHost()))
	must(ofTraces.Start(ctx, componenttest.NewNopHost()))
	fmt.Println(`{"ready":true}`)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	<-ended
	must(ofMetrics.Shutdown(ctx))
	must(ofTraces.Shutdown(ctx))
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
