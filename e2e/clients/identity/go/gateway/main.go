// SPDX-License-Identifier: Apache-2.0

// An agent with go-spiffe outside of a run: gets its identity from the Workload API, and calls an API through the
// gateway with it, by mTLS, again and again, until it is refused. Says what it sees, one JSON object a line.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

const body = `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}]}`

func say(fields map[string]any) {
	line, _ := json.Marshal(fields)
	_, _ = os.Stdout.Write(append(line, '\n'))
}

func must(what string, err error) {
	if err != nil {
		say(map[string]any{"event": "error", "error": what + ": " + err.Error()})
		os.Exit(1)
	}
}

// The status of one call on a connection of its own.
func call(source *workloadapi.X509Source, gateway spiffeid.ID, url string) (int, error) {
	tls := tlsconfig.MTLSClientConfig(source, source, tlsconfig.AuthorizeID(gateway))
	client := &http.Client{
		Transport: &http.Transport{TLSClientConfig: tls, DisableKeepAlives: true},
		Timeout:   30 * time.Second,
	}
	answer, err := client.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

// Words: the URL to call, then one line on standard input for each call that is wanted.
func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	source, err := workloadapi.NewX509Source(ctx)
	must("Workload API", err)
	svid, err := source.GetX509SVID()
	must("X.509-SVID", err)
	gateway := spiffeid.RequireFromPath(svid.ID.TrustDomain(), "/postern/gateway")
	_, err = call(source, spiffeid.RequireFromPath(svid.ID.TrustDomain(), "/another/gateway"), os.Args[1])
	say(map[string]any{"event": "ready", "id": svid.ID.String(), "refused": err != nil})
	var line string
	for {
		if _, err := fmt.Scanln(&line); err != nil {
			return
		}
		status, err := call(source, gateway, os.Args[1])
		must("call", err)
		svid, err := source.GetX509SVID()
		must("X.509-SVID", err)
		say(map[string]any{"event": "called", "status": status, "serial": svid.Certificates[0].SerialNumber.String()})
	}
}
