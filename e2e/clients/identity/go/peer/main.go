// SPDX-License-Identifier: Apache-2.0

// A trust domain in Go, with nothing of Postern in it: a Workload API by grpc-go and the standard's own messages, an
// issuer by Go's crypto/x509 and go-jose, and a server and a client by go-spiffe. It does what standard input says.
package main

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

var (
	domain = spiffeid.RequireTrustDomainFromString("go.example")
	id     = spiffeid.RequireFromString("spiffe://go.example/workload")
)

func say(fields map[string]any) {
	line, _ := json.Marshal(fields)
	_, _ = os.Stdout.Write(append(line, '\n'))
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		say(map[string]any{"event": "error", "error": err.Error()})
		os.Exit(1)
	}
}

type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newKey() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func newAuthority() *authority {
	key := newKey()
	template := &x509.Certificate{
		SerialNumber:          must(rand.Int(rand.Reader, big.NewInt(1<<62))),
		Subject:               pkix.Name{CommonName: fmt.Sprintf("Go authority %d", time.Now().UnixNano())},
		NotBefore:             time.Now().Add(-time.Minute),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		URIs:                  []*url.URL{domain.ID().URL()},
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return &authority{key: key, cert: must(x509.ParseCertificate(der))}
}

func (a *authority) issue(id spiffeid.ID) *x509svid.SVID {
	key := newKey()
	template := &x509.Certificate{
		SerialNumber:          must(rand.Int(rand.Reader, big.NewInt(1<<62))),
		NotBefore:             time.Now().Add(-time.Minute),
		NotAfter:              time.Now().Add(10 * time.Minute),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:                  []*url.URL{id.URL()},
	}
	der := must(x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key))
	return &x509svid.SVID{ID: id, Certificates: []*x509.Certificate{must(x509.ParseCertificate(der))}, PrivateKey: crypto.Signer(key)}
}

// What the Workload API says at present; a changed channel is closed.
type state struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	mu          sync.Mutex
	changed     chan struct{}
	authorities []*authority
	jwtKey      *ecdsa.PrivateKey
	denied      bool
}

func (s *state) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *state) bundle() *x509bundle.Bundle {
	bundle := x509bundle.New(domain)
	for _, each := range s.authorities {
		bundle.AddX509Authority(each.cert)
	}
	return bundle
}

func (s *state) jwtBundle() *jwtbundle.Bundle {
	return jwtbundle.FromJWTAuthorities(domain, map[string]crypto.PublicKey{"go-key": s.jwtKey.Public()})
}

func follow[T any](s *state, stream grpc.ServerStreamingServer[T], make func() *T) error {
	if values := metadata.ValueFromIncomingContext(stream.Context(), "workload.spiffe.io"); len(values) != 1 || values[0] != "true" {
		return status.Error(codes.InvalidArgument, "the security header is missing")
	}
	for {
		s.mu.Lock()
		changed, denied := s.changed, s.denied
		var message *T
		if !denied {
			message = make()
		}
		s.mu.Unlock()
		if denied {
			return status.Error(codes.PermissionDenied, "no identity issued")
		}
		if err := stream.Send(message); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return nil
		}
	}
}

func (s *state) FetchX509SVID(_ *workload.X509SVIDRequest, stream grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	return follow(s, stream, func() *workload.X509SVIDResponse {
		svid := s.authorities[len(s.authorities)-1].issue(id)
		certificates, key, err := svid.MarshalRaw()
		check(err)
		bundle := []byte{}
		for _, each := range s.authorities {
			bundle = append(bundle, each.cert.Raw...)
		}
		return &workload.X509SVIDResponse{Svids: []*workload.X509SVID{{SpiffeId: id.String(), X509Svid: certificates, X509SvidKey: key, Bundle: bundle, Hint: "go"}}}
	})
}

func (s *state) FetchX509Bundles(_ *workload.X509BundlesRequest, stream grpc.ServerStreamingServer[workload.X509BundlesResponse]) error {
	return follow(s, stream, func() *workload.X509BundlesResponse {
		bundle := []byte{}
		for _, each := range s.authorities {
			bundle = append(bundle, each.cert.Raw...)
		}
		return &workload.X509BundlesResponse{Bundles: map[string][]byte{domain.IDString(): bundle}}
	})
}

func (s *state) FetchJWTBundles(_ *workload.JWTBundlesRequest, stream grpc.ServerStreamingServer[workload.JWTBundlesResponse]) error {
	return follow(s, stream, func() *workload.JWTBundlesResponse {
		// A plain JWK set: neither go-spiffe nor SPIRE says here what a key is for.
		document := must(s.jwtBundle().Marshal())
		return &workload.JWTBundlesResponse{Bundles: map[string][]byte{domain.IDString(): document}}
	})
}

func (s *state) FetchJWTSVID(_ context.Context, request *workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.denied {
		return nil, status.Error(codes.PermissionDenied, "no identity issued")
	}
	key := jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: s.jwtKey, KeyID: "go-key"}}
	signer := must(jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT")))
	claims := jwt.Claims{Subject: id.String(), Audience: request.Audience, Expiry: jwt.NewNumericDate(time.Now().Add(time.Minute)), IssuedAt: jwt.NewNumericDate(time.Now())}
	token := must(jwt.Signed(signer).Claims(claims).Serialize())
	return &workload.JWTSVIDResponse{Svids: []*workload.JWTSVID{{SpiffeId: id.String(), Svid: token}}}, nil
}

type fixed struct{ svid *x509svid.SVID }

func (f fixed) GetX509SVID() (*x509svid.SVID, error) { return f.svid, nil }

func get(svid x509svid.Source, bundle x509bundle.Source, port string) {
	config := tlsconfig.MTLSClientConfig(svid, bundle, tlsconfig.AuthorizeID(id))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	response, err := client.Get("https://127.0.0.1:" + port + "/")
	if err != nil {
		say(map[string]any{"event": "dialled", "error": err.Error()})
		return
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		say(map[string]any{"event": "dialled", "error": err.Error()})
		return
	}
	say(map[string]any{"event": "dialled", "answer": string(body)})
}

func main() {
	socket := os.Args[1]
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	s := &state{changed: make(chan struct{}), authorities: []*authority{newAuthority()}, jwtKey: newKey()}
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, s)
	listener := must(net.Listen("unix", socket))
	go func() { _ = server.Serve(listener) }()

	source := must(workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(workloadapi.WithAddr("unix://"+socket))))
	mtls := must(net.Listen("tcp", "127.0.0.1:0"))
	web := &http.Server{
		TLSConfig: tlsconfig.MTLSServerConfig(source, source, tlsconfig.AuthorizeMemberOf(domain)),
		Handler: http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
			peer, err := x509svid.IDFromCert(request.TLS.PeerCertificates[0])
			check(err)
			user := "nobody"
			if token, found := strings.CutPrefix(request.Header.Get("Authorization"), "Bearer "); found {
				s.mu.Lock()
				bundle := s.jwtBundle()
				s.mu.Unlock()
				svid, err := jwtsvid.ParseAndValidate(token, bundle, []string{"go-service"})
				if err != nil {
					user = "refused: " + err.Error()
				} else {
					user = svid.ID.String()
				}
			}
			_, _ = fmt.Fprintf(writer, "%s for %s", peer, user)
		}),
	}
	go func() { _ = web.ServeTLS(mtls, "", "") }()
	say(map[string]any{"event": "ready", "port": mtls.Addr().(*net.TCPAddr).Port})

	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch words[0] {
		case "rotate": // A second authority, which signs from now on.
			s.change(func() { s.authorities = append(s.authorities, newAuthority()) })
		case "forget": // The first authority is believed no more.
			s.change(func() { s.authorities = s.authorities[1:] })
		case "deny":
			s.change(func() { s.denied = true })
		case "allow":
			s.change(func() { s.denied = false })
		case "dial":
			get(source, source, words[1])
		case "dial-as-stranger": // The right name, by an authority that nobody knows.
			get(fixed{newAuthority().issue(id)}, source, words[1])
		case "dial-as-trust-domain": // An authority's own name, which authenticates nobody.
			s.mu.Lock()
			signer := s.authorities[len(s.authorities)-1]
			s.mu.Unlock()
			get(fixed{signer.issue(domain.ID())}, source, words[1])
		}
	}
}
