// SPDX-License-Identifier: Apache-2.0

// Two trust domains with go-spiffe: `partner.example` has its bundle endpoint behind an SVID, `web.example` behind a certificate of
// the Web. Says where, then does what each line of standard input asks for, and says what came of it, one JSON object a line.
package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

var (
	partner  = spiffeid.RequireTrustDomainFromString("partner.example")
	web      = spiffeid.RequireTrustDomainFromString("web.example")
	endpoint = spiffeid.RequireFromPath(partner, "/bundle-endpoint")
)

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

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must("key", err)
	return key
}

func sign(template *x509.Certificate, parent *x509.Certificate, key *ecdsa.PrivateKey, signer *ecdsa.PrivateKey) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	must("serial", err)
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Minute)
	template.NotAfter = time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	must("certificate", err)
	certificate, err := x509.ParseCertificate(der)
	must("certificate", err)
	return certificate
}

func newAuthority(name string, uris ...*url.URL) authority {
	key := newKey()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, URIs: uris, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	return authority{sign(template, template, key, key), key}
}

func (by authority) issue(template *x509.Certificate) ([]*x509.Certificate, *ecdsa.PrivateKey) {
	key := newKey()
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	return []*x509.Certificate{sign(template, by.certificate, key, by.key)}, key
}

// The endpoint's SVID, which changes with its authority.
type source struct {
	sync.Mutex
	svid *x509svid.SVID
}

func (s *source) GetX509SVID() (*x509svid.SVID, error) {
	s.Lock()
	defer s.Unlock()
	return s.svid, nil
}

func (s *source) signedBy(by authority) {
	s.Lock()
	defer s.Unlock()
	chain, key := by.issue(&x509.Certificate{URIs: []*url.URL{endpoint.URL()}})
	s.svid = &x509svid.SVID{ID: endpoint, Certificates: chain, PrivateKey: key}
}

func text(bundle *spiffebundle.Bundle) string {
	bytes, err := bundle.Marshal()
	must("bundle", err)
	return string(bytes)
}

func serve(trustDomain spiffeid.TrustDomain, bundle *spiffebundle.Bundle, config *tls.Config) string {
	handler, err := federation.NewHandler(trustDomain, bundle)
	must("handler", err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must("listen", err)
	server := &http.Server{Handler: handler, TLSConfig: config, ReadHeaderTimeout: 10 * time.Second}
	go func() { must("serve", server.ServeTLS(listener, "", "")) }()
	return listener.Addr().String()
}

type wish struct {
	Do          string
	TrustDomain string
	URL         string
	// With `ID` by SVID, verified by `Bundle`; else by a certificate of the Web, verified by `Roots`.
	ID     string
	Bundle string
	Roots  string
}

func fetch(wanted wish) {
	trustDomain := spiffeid.RequireTrustDomainFromString(wanted.TrustDomain)
	var option federation.FetchOption
	if wanted.ID != "" {
		known, err := spiffebundle.Parse(trustDomain, []byte(wanted.Bundle))
		must("bundle", err)
		option = federation.WithSPIFFEAuth(known, spiffeid.RequireFromString(wanted.ID))
	} else {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(wanted.Roots))
		option = federation.WithWebPKIRoots(roots)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	bundle, err := federation.FetchBundle(ctx, trustDomain, wanted.URL, option)
	if err != nil {
		say(map[string]any{"event": "refused", "error": err.Error()})
		return
	}
	sequence, _ := bundle.SequenceNumber()
	hint, _ := bundle.RefreshHint()
	say(map[string]any{
		"event": "fetched", "x509": len(bundle.X509Authorities()), "jwt": len(bundle.JWTAuthorities()),
		"sequence": sequence, "hint": hint.Seconds(),
	})
}

func main() {
	first, second := newAuthority("one", partner.ID().URL()), newAuthority("two", partner.ID().URL())
	shown := &source{}
	shown.signedBy(first)
	bundle := spiffebundle.FromX509Authorities(partner, []*x509.Certificate{first.certificate})
	known := text(bundle)
	bundle.AddX509Authority(second.certificate)
	bundle.SetSequenceNumber(1)
	bundle.SetRefreshHint(10 * time.Second)
	bySpiffe := serve(partner, bundle, tlsconfig.TLSServerConfig(shown))

	roots := newAuthority("Web")
	chain, key := roots.issue(&x509.Certificate{DNSNames: []string{"bundle.web.example"}})
	certificate := tls.Certificate{Certificate: [][]byte{chain[0].Raw}, PrivateKey: key}
	other := spiffebundle.FromX509Authorities(web, []*x509.Certificate{newAuthority("other", web.ID().URL()).certificate})
	byWeb := serve(web, other, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	pemRoots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: roots.certificate.Raw})
	say(map[string]any{"event": "serving", "spiffe": bySpiffe, "web": byWeb, "bundle": known, "roots": string(pemRoots)})

	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var wanted wish
		must("what to do", json.Unmarshal(lines.Bytes(), &wanted))
		switch wanted.Do {
		case "fetch":
			fetch(wanted)
		case "rotate":
			// What was read from the endpoint before verifies it now; what was configured at the beginning does not.
			shown.signedBy(second)
			bundle.RemoveX509Authority(first.certificate)
			bundle.SetSequenceNumber(2)
			say(map[string]any{"event": "rotated"})
		}
	}
}
