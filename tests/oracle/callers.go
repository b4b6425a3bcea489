package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"
)

// issuer is who vouches for the callers.
const issuer = "https://issuer.oracle.test"

// caller is somebody with a token, and where the policy lets them act in any way.
type caller struct {
	name, group string
	// Domains by project; nil for everywhere.
	reach map[string][]string
	// Whether only things called `listed`, and executions of those.
	listed bool
}

// listed is the name that an allow-list has.
const listed = "core.flyte_basics.wf"

// exists tells whether there is an execution of a name, as the recorder answers.
func exists(execution string) bool {
	return !strings.HasPrefix(execution, "x")
}

// runsListed tells whether an execution runs what is called so, here where executions are only answers of the recorder.
func runsListed(execution string) bool {
	return strings.HasPrefix(execution, "f")
}

var callers = []caller{
	{name: "alice", group: "ml-team", reach: map[string][]string{
		"ml":         {"development", "staging", "production"},
		"shared-lib": {"production"},
	}},
	{name: "engine", group: "ml-engine", reach: map[string][]string{"ml": {"development", "staging", "production"}}},
	{name: "tuner", group: "ml-settings", reach: map[string][]string{"ml": {"development", "staging", "production"}}},
	{name: "lister", group: "ml-one-name", reach: map[string][]string{"ml": {"development", "staging", "production"}}, listed: true},
	{name: "root", group: "administrators"},
	{name: "bob", group: "fraud-team", reach: map[string][]string{"fraud": {"development", "staging", "production"}}},
}

// reaches tells whether somebody may act in any way in a place, in any domain of its project if it names none.
func reaches(subject string, place place) bool {
	for _, caller := range callers {
		if caller.name != subject {
			continue
		}
		if caller.reach == nil {
			return true
		}
		for _, known := range caller.reach[place.project] {
			if place.domain == "" || known == place.domain {
				return !caller.listed || place.isListed()
			}
		}
	}
	return false
}

// isListed tells whether somebody may act on some names only.
func isListed(subject string) bool {
	return slices.ContainsFunc(callers, func(caller caller) bool { return caller.name == subject && caller.listed })
}

// isListed tells whether what a place names is called `listed` or runs what is. Nothing is named by calls for lists.
func (p place) isListed() bool {
	if p.chosen && !exists(p.name) {
		return true
	}
	if p.execution {
		return p.name == "" || runsListed(p.name)
	}
	return p.name == "" || p.name == listed
}

// credentials are the tokens and sessions of the callers, by the words that stand for them in requests: `{{alice}}` for a
// token, `{{session-alice}}` for the cookies of a session. So a stored request can be sent with those of another run.
type credentials struct {
	keySet []byte
	words  map[string]string
	// The subject of each token.
	subjects map[string]string
}

func newCredentials(gateway *gateway) (*credentials, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	key := map[string]string{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "oracle", "x": encode(public)}
	keySet, err := json.Marshal(map[string]any{"keys": []any{key}})
	if err != nil {
		return nil, err
	}
	made := &credentials{keySet: keySet, words: map[string]string{}, subjects: map[string]string{}}
	for _, caller := range callers {
		token, err := sign(private, caller)
		if err != nil {
			return nil, err
		}
		session, err := gateway.session(token, caller.name)
		if err != nil {
			return nil, err
		}
		made.words["{{"+caller.name+"}}"] = token
		made.words["{{session-"+caller.name+"}}"] = session
		made.subjects[token] = caller.name
	}
	return made, nil
}

func sign(private ed25519.PrivateKey, caller caller) (string, error) {
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{
		"iss": issuer, "aud": "flyte", "sub": caller.name, "groups": []string{caller.group},
		"iat": now, "exp": now + 24*60*60,
	})
	if err != nil {
		return "", err
	}
	signed := encode([]byte(`{"alg":"EdDSA","typ":"JWT","kid":"oracle"}`)) + "." + encode(claims)
	return signed + "." + encode(ed25519.Sign(private, []byte(signed))), nil
}

func encode(bytes []byte) string {
	return base64.RawURLEncoding.EncodeToString(bytes)
}

var word = regexp.MustCompile(`\{\{[a-z-]+\}\}`)

// fill puts the credentials in the place of the words that stand for them.
func (c *credentials) fill(text string) string {
	if !strings.Contains(text, "{{") {
		return text
	}
	return word.ReplaceAllStringFunc(text, func(word string) string {
		if value, found := c.words[word]; found {
			return value
		}
		return word
	})
}

// holders gives the subjects of all tokens in a text.
func (c *credentials) holders(text string) []string {
	var found []string
	for token, subject := range c.subjects {
		if strings.Contains(text, token) {
			found = append(found, subject)
		}
	}
	return found
}
