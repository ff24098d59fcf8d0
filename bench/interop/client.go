// Go's net/http against a server of HTTP/2: checks of bench/interop/run.ts, as one line of JSON.
//
//	go run client.go <origin> <file of the CA>
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
)

const (
	streams = 100
	aborted = 20
)

func main() {
	origin, caFile := os.Args[1], os.Args[2]
	pem, err := os.ReadFile(caFile)
	check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(strings.HasPrefix(origin, "http:"))
	client := &http.Client{Transport: &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{RootCAs: pool}}}
	url := origin + "/v1/chat/completions"
	seen := map[string]any{"client": "Go net/http", "version": runtime.Version()}

	// The first one opens the connection that the others share.
	answer := ask(client, url, body(true, 0), nil)
	seen["protocol"] = answer.Proto
	whole(answer)
	complete := 0
	var group sync.WaitGroup
	var lock sync.Mutex
	for range streams {
		group.Go(func() {
			if whole(ask(client, url, body(true, 0), nil)) {
				lock.Lock()
				complete++
				lock.Unlock()
			}
		})
	}
	group.Wait()
	seen["complete"] = complete

	large := ask(client, url, body(false, 300_000), nil)
	io.Copy(io.Discard, large.Body)
	seen["upload"] = large.StatusCode

	trailed := ask(client, url, body(true, 0), http.Header{"X-Checksum": {"1"}})
	seen["trailers"] = whole(trailed)

	missing, err := client.Get(origin + "/nowhere")
	check(err)
	io.Copy(io.Discard, missing.Body)
	seen["missing"] = missing.StatusCode

	for range aborted {
		group.Go(func() {
			context, cancel := context.WithCancel(context.Background())
			request, err := http.NewRequestWithContext(context, "POST", url, strings.NewReader(body(true, 0)))
			check(err)
			request.Header.Set("x-fakeai-output-tokens", "100000")
			answer, err := client.Do(request)
			check(err)
			bufio.NewReader(answer.Body).ReadString('\n')
			cancel()
			answer.Body.Close()
		})
	}
	group.Wait()
	seen["afterAborts"] = whole(ask(client, url, body(true, 0), nil))
	text, err := json.Marshal(seen)
	check(err)
	fmt.Println(string(text))
}

func body(stream bool, padding int) string {
	text, err := json.Marshal(map[string]any{
		"model": "m", "stream": stream, "user": strings.Repeat("u", padding),
		"messages": []any{map[string]string{"role": "user", "content": "Hello"}},
	})
	check(err)
	return string(text)
}

func ask(client *http.Client, url, text string, trailer http.Header) *http.Response {
	request, err := http.NewRequest("POST", url, strings.NewReader(text))
	check(err)
	if trailer != nil {
		request.ContentLength = -1
		request.Trailer = trailer
	}
	answer, err := client.Do(request)
	check(err)
	return answer
}

// Whether a stream has all its tokens and its end.
func whole(answer *http.Response) bool {
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return err == nil && answer.StatusCode == 200 &&
		strings.Count(string(text), `"content":"`) == 51 && strings.HasSuffix(string(text), "data: [DONE]\n\n")
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
