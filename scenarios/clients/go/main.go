// A client of quic-go for `fakeai bench --driver client --protocol h3`.
//
//	(cd scenarios/clients/go && go build -o /tmp/h3-go .)
//	fakeai bench --driver client --protocol h3 --client-cmd /tmp/h3-go
//
// Opens FAKEAI_STREAMS streams on one connection, and writes the time at which each token was read into FAKEAI_RECORD.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/quic-go/quic-go/http3"
)

type stream struct {
	Key     string    `json:"key"`
	StartUs float64   `json:"startUs"`
	TokenUs []float64 `json:"tokenUs"`
	Error   *string   `json:"error"`
}

type run struct {
	Kind         string  `json:"kind"`
	BeganUs      float64 `json:"beganUs"`
	EndedUs      float64 `json:"endedUs"`
	CPUUs        float64 `json:"cpuUs"`
	IdleRSSBytes *int    `json:"idleRssBytes"`
	RSSBytes     *int    `json:"rssBytes"`
}

// The clock that the server's log is kept in: CLOCK_MONOTONIC at the start, and Go's monotonic time since.
var startedAt = time.Now()
var startedUs = monotonicUs()

func nowUs() float64 { return startedUs + float64(time.Since(startedAt).Nanoseconds())/1000 }

func cpuUs() float64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1000
}

func number(name string) int {
	value, _ := strconv.Atoi(os.Getenv(name))
	return value
}

func ask(client *http.Client, one *stream, tokens int) error {
	body, _ := json.Marshal(map[string]any{
		"model": "fakeai", "stream": true, "max_tokens": tokens,
		"messages": []map[string]string{{"role": "user", "content": "Hello"}},
	})
	request, err := http.NewRequest("POST", os.Getenv("FAKEAI_URL")+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("x-client-request-id", one.Key)
	if !strings.HasPrefix(one.Key, "run-") {
		// Streams that only warm up are quick; our server takes its pace from headers.
		request.Header.Set("x-fakeai-ttft", "10")
		request.Header.Set("x-fakeai-itl", "5")
	}
	one.StartUs = nowUs()
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != 200 {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, "data: {") {
			continue
		}
		var chunk struct {
			Choices []struct {
				Delta struct {
					Content string `json:"content"`
				} `json:"delta"`
			} `json:"choices"`
		}
		if json.Unmarshal([]byte(line[6:]), &chunk) == nil && len(chunk.Choices) > 0 && chunk.Choices[0].Delta.Content != "" {
			one.TokenUs = append(one.TokenUs, nowUs())
		}
	}
	return lines.Err()
}

func all(client *http.Client, prefix string, count int, tokens int, ramp time.Duration) []*stream {
	streams := make([]*stream, count)
	var group sync.WaitGroup
	for i := range streams {
		streams[i] = &stream{Key: fmt.Sprintf("%s-%d", prefix, i), TokenUs: []float64{}}
		group.Add(1)
		go func() {
			defer group.Done()
			time.Sleep(ramp * time.Duration(i) / time.Duration(count))
			if err := ask(client, streams[i], tokens); err != nil {
				text := err.Error()
				streams[i].Error = &text
			}
		}()
	}
	group.Wait()
	return streams
}

func main() {
	// The server's certificate is its own, and no authority's.
	client := &http.Client{Transport: &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	count, tokens := number("FAKEAI_STREAMS"), number("FAKEAI_OUTPUT_TOKENS")
	if os.Getenv("FAKEAI_WARMUP") == "1" {
		all(client, "code", min(8, count), min(30, tokens), 0)
		all(client, "warm", count, min(30, tokens), 0)
	}
	stop := number("FAKEAI_STOP_MS")
	head := run{Kind: "fakeai.client", BeganUs: nowUs()}
	before := cpuUs()
	done := make(chan []*stream, 1)
	go func() {
		done <- all(client, "run", count, tokens, time.Duration(number("FAKEAI_RAMP_MS"))*time.Millisecond)
	}()
	var streams []*stream
	if stop > 0 {
		select {
		case streams = <-done:
		case <-time.After(time.Duration(stop) * time.Millisecond):
			return
		}
	} else {
		streams = <-done
	}
	head.EndedUs = nowUs()
	head.CPUUs = cpuUs() - before
	if path := os.Getenv("FAKEAI_RECORD"); path != "" {
		file, err := os.Create(path)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		defer file.Close()
		lines := json.NewEncoder(file)
		_ = lines.Encode(head)
		for _, one := range streams {
			_ = lines.Encode(one)
		}
	}
}
