// franz-go's client: Produce with a promise, and ProduceSync.
//
// The arguments and the line of JSON are those of the Rust peers, see ../src/lib.rs.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	brokers  = flag.String("brokers", "", "bootstrap.servers")
	topic    = flag.String("topic", "", "an existing topic")
	work     = flag.String("work", "window", "window or sends")
	messages = flag.Int64("messages", 1, "messages to send")
	inFlight = flag.Int64("in-flight", 1, "messages in flight")
	size     = flag.Int("size", 100, "bytes of a payload")
	linger   = flag.Int("linger", 0, "linger.ms")
)

var ctx = context.Background()

func main() {
	flag.String("runtime", "", "ignored")
	flag.Parse()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(*brokers, ",")...),
		kgo.DefaultProduceTopic(*topic),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.DisableIdempotentWrite(),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerLinger(time.Duration(*linger)*time.Millisecond),
		kgo.MaxBufferedRecords(int(*inFlight)),
	)
	check(err)
	value := payload()
	send := window
	if *work == "sends" {
		send = sends
	}
	send(client, value, (*messages+9)/10)

	cpu, start := cpuTime(), time.Now()
	latencies := send(client, value, *messages)
	seconds, cpu := time.Since(start).Seconds(), cpuTime()-cpu

	result := map[string]any{"messages": *messages, "seconds": seconds, "cpu_seconds": cpu.Seconds()}
	if slices.Sort(latencies); len(latencies) > 0 {
		result["p50_us"] = latencies[(len(latencies)-1)*50/100].Microseconds()
		result["p99_us"] = latencies[(len(latencies)-1)*99/100].Microseconds()
	}
	check(json.NewEncoder(os.Stdout).Encode(result))
}

// window keeps the window by the limit of buffered records.
func window(client *kgo.Client, value []byte, messages int64) []time.Duration {
	for range messages {
		client.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) { check(err) })
	}
	check(client.Flush(ctx))
	return nil
}

// sends has a goroutine for each message in flight.
func sends(client *kgo.Client, value []byte, messages int64) []time.Duration {
	var (
		sent      atomic.Int64
		mutex     sync.Mutex
		latencies []time.Duration
		all       sync.WaitGroup
	)
	for range *inFlight {
		all.Add(1)
		go func() {
			defer all.Done()
			var mine []time.Duration
			for sent.Add(1) <= messages {
				start := time.Now()
				check(client.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr())
				mine = append(mine, time.Since(start))
			}
			mutex.Lock()
			defer mutex.Unlock()
			latencies = append(latencies, mine...)
		}()
	}
	all.Wait()
	return latencies
}

// payload does not compress: the numbers of a linear congruential generator.
func payload() []byte {
	bytes, state := make([]byte, *size), uint32(1)
	for i := range bytes {
		bytes[i] = byte(state >> 24)
		state = state*1664525 + 1013904223
	}
	return bytes
}

// cpuTime is what all threads have used so far, user and system.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
