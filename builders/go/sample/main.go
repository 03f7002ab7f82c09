// A small web application, such as people bring to s2ictl.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/go-chi/chi/v5"
)

func main() {
	router := chi.NewRouter()
	router.Get("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "Hello from Go, built by s2ictl without a Dockerfile.")
	})
	log.Fatal(http.ListenAndServe(":"+os.Getenv("PORT"), router))
}
