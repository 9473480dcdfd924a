package rest_test

import (
	"fmt"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/api/rest"
)

func ExampleOpenAPI() {
	first, _, _ := strings.Cut(string(rest.OpenAPI()), "\n")
	fmt.Println(first)
	// Output: openapi: 3.1.0
}
