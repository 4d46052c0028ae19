// A vCenter for tests: govmomi's simulator, with what a real one does besides at its /folder/: who has no session gets
// 401, a file that is new is answered 201, and one that is overwritten 200. And it describes itself, as oslo.vmware asks.
package main

import (
	"crypto/tls"
	_ "embed"
	"flag"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
)

//go:embed vcsim.wsdl
var description []byte

// askWhen is a call that fails without a session.
const askWhen = `<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body><CurrentTime xmlns="urn:vim25">` +
	`<_this type="ServiceInstance">ServiceInstance</_this></CurrentTime></Body></Envelope>`

type gate struct{ simulated http.Handler }

func (g gate) answers(method, target, body string, cookies []*http.Cookie) bool {
	request := httptest.NewRequest(method, target, strings.NewReader(body))
	for _, cookie := range cookies {
		request.AddCookie(&http.Cookie{Name: cookie.Name, Value: strings.Trim(cookie.Value, `"`)})
	}
	answer := httptest.NewRecorder()
	g.simulated.ServeHTTP(answer, request)
	return answer.Code == http.StatusOK
}

func (g gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/sdk/vimService.wsdl" {
		w.Header().Set("Content-Type", "text/xml")
		_, _ = w.Write(description)
		return
	}
	if !strings.HasPrefix(r.URL.Path, "/folder/") {
		g.simulated.ServeHTTP(w, r)
		return
	}
	switch {
	case !g.answers("POST", "/sdk", askWhen, r.Cookies()):
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusUnauthorized)
	case r.Method == "PUT":
		status := http.StatusCreated
		if g.answers("HEAD", r.URL.String(), "", nil) {
			status = http.StatusOK
		}
		watched := &watch{ResponseWriter: w}
		g.simulated.ServeHTTP(watched, r)
		if !watched.answered {
			w.WriteHeader(status)
		}
	case r.Method == "GET" || r.Method == "HEAD":
		g.simulated.ServeHTTP(w, r)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// watch tells whether anything was answered.
type watch struct {
	http.ResponseWriter
	answered bool
}

func (w *watch) WriteHeader(status int) {
	w.answered = true
	w.ResponseWriter.WriteHeader(status)
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address and port")
	user := flag.String("user", "user", "who may log in")
	password := flag.String("password", "password", "with which password")
	certificate := flag.String("cert", "", "PEM file of the certificate")
	key := flag.String("key", "", "PEM file of its key")
	datastores := flag.Int("datastores", 2, "LocalDS_0, LocalDS_1 ... in datacenter DC0")
	flag.Parse()

	simulator.SessionIdleTimeout = 30 * time.Minute
	model := simulator.VPX()
	model.Datastore, model.Machine = *datastores, 0
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(*certificate, *key)
	if err != nil {
		log.Fatal(err)
	}
	model.Service.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	model.Service.Listen = &url.URL{Host: *listen, User: url.UserPassword(*user, *password)}
	server := model.Service.NewServer()
	server.Config.Handler = gate{server.Config.Handler}
	log.Print("listening at ", server.URL.Host)
	select {}
}
