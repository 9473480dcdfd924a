package rest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/pynomaly/pynomaly-runtime/api/rest"
)

// contract compares answers with the OpenAPI description that the host serves.
type contract struct {
	paths      map[string]map[string]any // path to method to operation
	components map[string]any            // schemas by name
	compiler   *jsonschema.Compiler
	mu         sync.Mutex
	schemas    map[string]*jsonschema.Schema
	covered    map[string]bool // "post /path 200"
}

// loadContract reads the description once for all tests.
var loadContract = sync.OnceValues(func() (*contract, error) {
	var doc map[string]any
	if err := yaml.Unmarshal(rest.OpenAPI(), &doc); err != nil {
		return nil, err
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := &contract{compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}, paths: map[string]map[string]any{}, covered: map[string]bool{}}
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource("openapi.json", value); err != nil {
		return nil, err
	}
	c.components = doc["components"].(map[string]any)["schemas"].(map[string]any)
	for path, item := range doc["paths"].(map[string]any) {
		c.paths[path] = item.(map[string]any)
	}
	return c, nil
})

func (c *contract) schema(pointer string) (*jsonschema.Schema, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.schemas[pointer]; ok {
		return s, nil
	}
	s, err := c.compiler.Compile("openapi.json#" + pointer)
	c.schemas[pointer] = s
	return s, err
}

// pathOf returns the description's path for a URL path.
func (c *contract) pathOf(url string) string {
	if _, ok := c.paths[url]; ok {
		return url
	}
	parts := strings.Split(url, "/")
	for path := range c.paths {
		of := strings.Split(path, "/")
		if len(of) == len(parts) && slices.EqualFunc(of, parts, func(a, b string) bool { return a == b || strings.HasPrefix(a, "{") }) {
			return path
		}
	}
	return ""
}

// check returns how an answer differs from the description.
func (c *contract) check(method, url string, status int, header http.Header, body []byte) error {
	path := c.pathOf(url)
	if path == "" {
		if status != http.StatusNotFound {
			return fmt.Errorf("%s is not described and answers %d", url, status)
		}
		return nil
	}
	method = strings.ToLower(method)
	operation, ok := c.paths[path][method].(map[string]any)
	if !ok {
		if status != http.StatusMethodNotAllowed || header.Get("Allow") == "" {
			return fmt.Errorf("%s %s is not described and answers %d, Allow %q", method, path, status, header.Get("Allow"))
		}
		return nil
	}
	code := fmt.Sprint(status)
	response, ok := operation["responses"].(map[string]any)[code].(map[string]any)
	if !ok {
		return fmt.Errorf("%s %s answers %d, which is not described", method, path, status)
	}
	pointer := "/paths/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(path) + "/" + method + "/responses/" + code
	if ref, ok := response["$ref"].(string); ok {
		pointer = strings.TrimPrefix(ref, "#")
	}
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil && status != http.StatusSwitchingProtocols {
		return fmt.Errorf("Content-Type %q: %w", header.Get("Content-Type"), err)
	}
	c.mu.Lock()
	c.covered[method+" "+path+" "+code] = true
	c.mu.Unlock()
	if !strings.HasSuffix(media, "json") {
		return nil
	}
	schema, err := c.schema(pointer + "/content/" + strings.ReplaceAll(media, "/", "~1") + "/schema")
	if err != nil {
		return fmt.Errorf("%s %s answers %d as %s: %w", method, path, status, media, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("the answer is no JSON: %w", err)
	}
	if err := schema.Validate(value); err != nil {
		return fmt.Errorf("%s %s %d: %w\n%.1000s", method, path, status, err, body)
	}
	if status == http.StatusServiceUnavailable && header.Get("Retry-After") == "" {
		return fmt.Errorf("%s %s answers 503 without Retry-After", method, path)
	}
	return nil
}

// checked is a transport that compares every answer with the description.
type checked struct {
	t    testing.TB
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (k checked) RoundTrip(r *http.Request) (*http.Response, error) {
	c, err := loadContract()
	if err != nil {
		return nil, err
	}
	resp, err := k.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if err := c.check(r.Method, r.URL.Path, resp.StatusCode, resp.Header, body); err != nil {
		k.t.Error(err)
	}
	return resp, nil
}

func client(t testing.TB) *http.Client {
	return &http.Client{Transport: checked{t, http.DefaultTransport}}
}

// TestContractNotices checks that the comparison finds differences.
func TestContractNotices(t *testing.T) {
	c, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{"Content-Type": {"application/json"}}
	for _, k := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/ready", 200, `{"ready":1}`},
		{"GET", "/ready", 200, `{"ready":true,"more":1}`},
		{"GET", "/ready", 503, `{"ready":false}`}, // without Retry-After
		{"GET", "/ready", 418, `{}`},
		{"GET", "/elsewhere", 200, `{}`},
		{"PUT", "/ready", 200, `{}`},
		{"GET", "/api/v1/models/m", 200, `{"model_id":"m","versions":[{"model_id":"m","version":"1","status":"fine","changed":"2026-01-01T00:00:00Z"}]}`},
		{"GET", "/api/v1/models/m", 200, `{"model_id":"m","versions":[{"model_id":"m","version":"1","status":"loaded","changed":"yesterday"}]}`},
	} {
		if c.check(k.method, k.path, k.status, header, []byte(k.body)) == nil {
			t.Errorf("%s %s %d %s is accepted", k.method, k.path, k.status, k.body)
		}
	}
}
