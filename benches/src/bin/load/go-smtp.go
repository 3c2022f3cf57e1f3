// A peer of the load comparison: the library go-smtp with a backend that accepts and drops.
package main

import (
	"crypto/tls"
	"io"
	"log"
	"os"

	"github.com/emersion/go-smtp"
)

type swallow struct{}

func (swallow) Login(*smtp.ConnectionState, string, string) (smtp.Session, error) {
	return nil, smtp.ErrAuthUnsupported
}
func (swallow) AnonymousLogin(*smtp.ConnectionState) (smtp.Session, error) { return swallow{}, nil }
func (swallow) Reset()                                                     {}
func (swallow) Logout() error                                              { return nil }
func (swallow) Mail(string, smtp.MailOptions) error                        { return nil }
func (swallow) Rcpt(string) error                                          { return nil }
func (swallow) Data(text io.Reader) error                                  { _, err := io.Copy(io.Discard, text); return err }

func main() {
	pair, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	server := smtp.NewServer(swallow{})
	server.Addr = "127.0.0.1:" + os.Args[1]
	server.Domain = "go.example"
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}}
	log.Fatal(server.ListenAndServe())
}
