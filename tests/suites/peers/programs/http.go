// SPDX-License-Identifier: GPL-2.0

// An HTTP server and a client that loads it, by Go's own net/http, whose runtime calls
// epoll itself, without a C library.
//
// usage: http serve ADDRESS
//
//	http load ADDRESS CLIENTS REQUESTS
//
// The server ends well by SIGTERM. The client has CLIENTS goroutines that make REQUESTS
// requests each, kept alive or a connection each, and wants back what it has sent; some of
// the answers take their time, and some requests are given up before. It prints what went
// wrong and "N requests", and then waits for its input to end with all its connections idle.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func serve(address string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Write(body)
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(30 * time.Millisecond):
			fmt.Fprint(w, "slow")
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/never", func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done() // the client has gone, which epoll tells
	})

	server := &http.Server{Addr: address, Handler: mux}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	stopped := make(chan error)
	go func() {
		<-stop
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		stopped <- server.Shutdown(ctx)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

type client struct {
	*http.Client
	base string
}

func (c *client) get(ctx context.Context, path string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, "POST", c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	answer, err := c.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, errors.New(answer.Status)
	}
	return io.ReadAll(answer.Body)
}

func (c *client) want(path string, body, wanted []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	got, err := c.get(ctx, path, body)
	if err == nil && !bytes.Equal(got, wanted) {
		err = fmt.Errorf("%s: the answer differs: %d bytes of %d", path, len(got), len(wanted))
	}
	return err
}

// One that is given up after 20 ms
func (c *client) giveUp() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.get(ctx, "/never", nil); !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("/never: %v", err)
	}
	return nil
}

func load(address string, clients, requests int) error {
	var group sync.WaitGroup
	var done, failed atomic.Int64

	kept := &http.Transport{MaxIdleConnsPerHost: clients}
	closed := &http.Transport{DisableKeepAlives: true}
	for n := 0; n < clients; n++ {
		group.Add(1)
		go func(n int) {
			defer group.Done()
			random := rand.New(rand.NewSource(int64(n)))
			c := &client{&http.Client{Transport: kept}, "http://" + address}
			if n%4 == 3 {
				c.Transport = closed
			}
			for i := 0; i < requests; i++ {
				var err error
				switch {
				case i%20 == 19:
					err = c.giveUp()
				case i%10 == 9:
					err = c.want("/slow", nil, []byte("slow"))
				default:
					size := 1 << random.Intn(11)
					if i%40 == 5 {
						size = 1 << 20
					}
					body := make([]byte, size)
					random.Read(body)
					err = c.want("/echo", body, body)
				}
				if err != nil {
					failed.Add(1)
					fmt.Println("error:", err)
				}
				done.Add(1)
			}
		}(n)
	}
	group.Wait()
	fmt.Println(done.Load(), "requests")
	io.Copy(io.Discard, os.Stdin)
	if failed.Load() > 0 {
		return fmt.Errorf("%d requests failed", failed.Load())
	}
	return nil
}

func main() {
	err := errors.New("usage: http serve ADDRESS | http load ADDRESS CLIENTS REQUESTS")
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		err = serve(os.Args[2])
	} else if len(os.Args) == 5 && os.Args[1] == "load" {
		clients, _ := strconv.Atoi(os.Args[3])
		requests, _ := strconv.Atoi(os.Args[4])
		err = load(os.Args[2], clients, requests)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
