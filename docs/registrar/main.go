// A service that keeps itself registered. ADDRESS: where it serves; KEY: its key; REGISTRY: etcd's endpoints;
// DRAIN: how long it serves on after it has left, such as 3s.
package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	etcd "go.etcd.io/etcd/client/v3"
)

const ttl, pause = 3 * time.Second, 500 * time.Millisecond

// register holds the key under a lease until SIGTERM, which revokes it, or until something is lost.
func register(stopped context.Context, client *etcd.Client, key, value string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	silence := time.AfterFunc(ttl, cancel) // a registry that does not answer is asked anew
	lease, err := client.Grant(ctx, int64(ttl/time.Second))
	if err != nil {
		return err
	}
	alive, err := client.KeepAlive(ctx, lease.ID)
	if err != nil {
		return err
	}
	changes := client.Watch(ctx, key) // before the key is put, so that no delete is missed
	for {
		silence.Reset(ttl)
		if _, err := client.Put(ctx, key, value, etcd.WithLease(lease.ID)); err != nil {
			return err
		}
		silence.Stop()
		log.Printf("registered %s under lease %x", key, lease.ID)
		for deleted := false; !deleted; {
			select {
			case _, ok := <-alive: // closed when the lease is gone, or nobody could renew it in time
				if !ok {
					return errors.New("the lease is lost")
				}
			case change := <-changes:
				if len(change.Events) == 0 {
					return errors.New("the watch has ended")
				}
				deleted = change.Events[len(change.Events)-1].Type == etcd.EventTypeDelete
			case <-stopped.Done(): // gateways send nothing new from here on
				silence.Reset(ttl)
				_, err := client.Revoke(ctx, lease.ID)
				return err
			}
		}
	}
}

func main() {
	stopped, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	address, key := os.Getenv("ADDRESS"), os.Getenv("KEY")
	drain, err := time.ParseDuration(os.Getenv("DRAIN"))
	if err != nil {
		log.Fatal("DRAIN: ", err)
	}
	http.HandleFunc("/", func(answer http.ResponseWriter, _ *http.Request) { io.WriteString(answer, "goods\n") })
	go func() { log.Fatal(http.ListenAndServe(address, nil)) }()
	client, err := etcd.New(etcd.Config{Endpoints: strings.Split(os.Getenv("REGISTRY"), ",")})
	if err != nil {
		log.Fatal(err)
	}
	for stopped.Err() == nil {
		if err := register(stopped, client, key, address); err != nil {
			log.Printf("not registered: %v", err)
			time.Sleep(pause)
		}
	}
	time.Sleep(drain) // serves on while gateways learn of it
}
