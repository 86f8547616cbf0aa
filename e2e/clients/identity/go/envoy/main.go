// SPDX-License-Identifier: Apache-2.0

// A workload with Envoy's definitions of its Secret Discovery Service: says what it is given, one JSON object a line, until it is
// denied.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"slices"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secret "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const secretType = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"

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

func demand(what string, holds bool) {
	if !holds {
		must(what, fmt.Errorf("does not hold"))
	}
}

// What an answer holds, by name; every message must pass the checks that Envoy makes of it.
func secretsOf(answer *discovery.DiscoveryResponse) map[string]*tlsv3.Secret {
	must("answer", answer.ValidateAll())
	demand("type", answer.TypeUrl == secretType)
	secrets := map[string]*tlsv3.Secret{}
	for _, resource := range answer.Resources {
		one := &tlsv3.Secret{}
		must("secret", resource.UnmarshalTo(one))
		must("secret "+one.Name, one.ValidateAll())
		secrets[one.Name] = one
	}
	return secrets
}

func authorities(source *core.DataSource) []*x509.Certificate {
	var all []*x509.Certificate
	rest := source.GetInlineBytes()
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			return all
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		must("authority", err)
		all = append(all, certificate)
	}
}

// The one trust domain's authorities in the configuration of Envoy's validator for SPIFFE.
func apart(context *tlsv3.CertificateValidationContext, trustDomain string) []*x509.Certificate {
	config := context.GetCustomValidatorConfig()
	demand("validator", config.GetName() == "envoy.tls.cert_validator.spiffe")
	validator := &tlsv3.SPIFFECertValidatorConfig{}
	must("validator", config.GetTypedConfig().UnmarshalTo(validator))
	must("validator", validator.ValidateAll())
	for _, domain := range validator.TrustDomains {
		if domain.Name == trustDomain {
			return authorities(domain.TrustBundle)
		}
	}
	return nil
}

func report(secrets map[string]*tlsv3.Secret) {
	own := secrets["default"].GetTlsCertificate()
	pair, err := tls.X509KeyPair(own.GetCertificateChain().GetInlineBytes(), own.GetPrivateKey().GetInlineBytes())
	must("certificate and key", err)
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	must("certificate", err)
	known := authorities(secrets["ROOTCA"].GetValidationContext().GetTrustedCa())
	demand("ALL has the same", slices.EqualFunc(known, apart(secrets["ALL"].GetValidationContext(), leaf.URIs[0].Host),
		func(a, b *x509.Certificate) bool { return a.Equal(b) }))
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, each := range known {
		roots.AddCert(each)
	}
	for _, der := range pair.Certificate[1:] {
		each, err := x509.ParseCertificate(der)
		must("chain", err)
		between.AddCert(each)
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	must("verify", err)
	say(map[string]any{
		"event":       "x509",
		"id":          leaf.URIs[0].String(),
		"signer":      hex.EncodeToString(leaf.AuthorityKeyId),
		"authorities": len(known),
		"serial":      leaf.SerialNumber.String(),
	})
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	connection, err := grpc.NewClient(os.Getenv("SPIFFE_ENDPOINT_SOCKET"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must("connect", err)
	client := secret.NewSecretDiscoveryServiceClient(connection)

	once, err := client.FetchSecrets(ctx, &discovery.DiscoveryRequest{TypeUrl: secretType, ResourceNames: []string{"ROOTCA"}})
	must("fetch", err)
	demand("fetch one", len(secretsOf(once)) == 1)
	_, err = client.FetchSecrets(ctx, &discovery.DiscoveryRequest{TypeUrl: secretType, ResourceNames: []string{"spiffe://corp/somebody-else"}})
	demand("somebody else's is refused", status.Code(err) == codes.InvalidArgument)

	stream, err := client.StreamSecrets(ctx)
	must("stream", err)
	node := &core.Node{Id: "one", Cluster: "two", UserAgentName: "envoy"}
	must("send", stream.Send(&discovery.DiscoveryRequest{Node: node, TypeUrl: secretType, ResourceNames: []string{"default"}}))
	answer, err := stream.Recv()
	must("first answer", err)
	demand("first answer", len(secretsOf(answer)) == 1)
	// Refused, then asked for more: the next answer is for that, and not the refused one again.
	names := []string{"default", "ROOTCA", "ALL"}
	must("refuse", stream.Send(&discovery.DiscoveryRequest{
		TypeUrl: secretType, ResourceNames: []string{"default"}, ResponseNonce: answer.Nonce,
		ErrorDetail: &rpc.Status{Code: int32(codes.InvalidArgument), Message: "not this one"},
	}))
	must("ask", stream.Send(&discovery.DiscoveryRequest{TypeUrl: secretType, ResourceNames: names, ResponseNonce: answer.Nonce}))
	for {
		next, err := stream.Recv()
		if status.Code(err) == codes.PermissionDenied {
			say(map[string]any{"event": "denied"})
			return
		}
		must("answer", err)
		demand("a new nonce", next.Nonce != answer.Nonce)
		demand("a new version", next.VersionInfo != answer.VersionInfo)
		answer = next
		secrets := secretsOf(answer)
		demand("as many as asked for", len(secrets) == len(names))
		must("take", stream.Send(&discovery.DiscoveryRequest{
			TypeUrl: secretType, ResourceNames: names, ResponseNonce: answer.Nonce, VersionInfo: answer.VersionInfo,
		}))
		report(secrets)
	}
}
