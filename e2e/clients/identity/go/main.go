// SPDX-License-Identifier: Apache-2.0

// A workload with go-spiffe: says what the Workload API gives it, one JSON object a line, until it is denied.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func say(fields map[string]any) {
	line, _ := json.Marshal(fields)
	_, _ = os.Stdout.Write(append(line, '\n'))
}

func must(what string, err error) {
	if err != nil {
		say(map[string]any{"event": "error", "what": what, "error": err.Error()})
		os.Exit(1)
	}
}

type watcher struct{}

func (watcher) OnX509ContextUpdate(update *workloadapi.X509Context) {
	svid := update.DefaultSVID()
	bundle, err := update.Bundles.GetX509BundleForTrustDomain(svid.ID.TrustDomain())
	must("bundle", err)
	id, _, err := x509svid.Verify(svid.Certificates, bundle)
	must("verify", err)
	say(map[string]any{
		"event":       "x509",
		"id":          id.String(),
		"signer":      hex.EncodeToString(svid.Certificates[0].AuthorityKeyId),
		"authorities": len(bundle.X509Authorities()),
		"serial":      svid.Certificates[0].SerialNumber.String(),
	})
}

func (watcher) OnX509ContextWatchError(err error) {
	if status.Code(err) == codes.PermissionDenied {
		say(map[string]any{"event": "denied"})
		os.Exit(0)
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	client, err := workloadapi.New(ctx)
	must("connect", err)
	bundles, err := client.FetchJWTBundles(ctx)
	must("JWT bundles", err)
	token, err := client.FetchJWTSVID(ctx, jwtsvid.Params{Audience: "api"})
	must("JWT-SVID", err)
	parsed, err := jwtsvid.ParseAndValidate(token.Marshal(), bundles, []string{"api"})
	must("validate", err)
	validated, err := client.ValidateJWTSVID(ctx, token.Marshal(), "api")
	must("validate at the server", err)
	_, err = client.ValidateJWTSVID(ctx, token.Marshal(), "other")
	say(map[string]any{
		"event":   "jwt",
		"id":      parsed.ID.String(),
		"server":  validated.ID.String(),
		"refused": status.Code(err) == codes.InvalidArgument,
	})
	must("watch", client.WatchX509Context(ctx, watcher{}))
}
