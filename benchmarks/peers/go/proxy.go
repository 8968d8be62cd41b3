// What one writes in Go: httputil.ReverseProxy, each request signed by gomodule/oauth1.
package main

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"

	"github.com/gomodule/oauth1/oauth"
)

func privateKey(path string) *rsa.PrivateKey {
	text, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		log.Fatal(err)
	}
	return key.(*rsa.PrivateKey)
}

func main() {
	listen, upstream := os.Getenv("LISTEN"), os.Getenv("UPSTREAM")
	origin, err := url.Parse(upstream)
	if err != nil {
		log.Fatal(err)
	}
	client := oauth.Client{
		Credentials:     oauth.Credentials{Token: os.Getenv("CONSUMER_KEY")},
		SignatureMethod: oauth.RSASHA1,
		PrivateKey:      privateKey(os.Getenv("PRIVATE_KEY")),
	}
	token := oauth.Credentials{Token: os.Getenv("TOKEN")}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns = 0
	transport.MaxIdleConnsPerHost = 256 // the default, 2, opens a connection for nearly every request
	transport.DisableCompression = true
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Director: func(request *http.Request) {
			request.URL.Scheme, request.URL.Host, request.Host = origin.Scheme, origin.Host, origin.Host
			signed := *request.URL
			signed.RawQuery = ""
			err := client.SetAuthorizationHeader(
				request.Header, &token, request.Method, &signed, request.URL.Query())
			if err != nil {
				log.Print(err)
			}
		},
		FlushInterval: -1,
	}
	log.Fatal(http.ListenAndServe(listen, proxy))
}
