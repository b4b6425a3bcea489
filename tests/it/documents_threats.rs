//! The catalogue of bad input: every id has tests, and docs/threats.md says which.
//!
//! A test belongs to the ids in its name: `t_pb_04_to_07_and_12_…` to T-PB-04 to 07 and T-PB-12, `t_h2_…` to T-H2 as a whole.

use crate::documents::{is_generated, program};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// One input, by its number in the family; 0 for the family as a whole.
struct Input {
    number: u8,
    /// What is sent.
    what: &'static str,
    /// Tests of it whose names do not say so.
    also: &'static [&'static str],
}

const fn input(number: u8, what: &'static str, also: &'static [&'static str]) -> Input {
    Input { number, what, also }
}

struct Family {
    name: &'static str,
    title: &'static str,
    inputs: &'static [Input],
}

const CATALOGUE: &[Family] = &[
    Family {
        name: "path",
        title: "Paths and targets",
        inputs: &[
            input(1, "No slash in front", &[]),
            input(2, "`*`", &[]),
            input(3, "`//service/method`", &[]),
            input(4, "`/service//method`", &[]),
            input(5, "A slash behind", &[]),
            input(6, "`/./` and `/../`", &[]),
            input(7, "`%2e%2e`, `%2E.`", &[]),
            input(
                8,
                "`%2F` in a segment, at which FlyteAdmin's gateway splits",
                &["segments_are_decoded_once"],
            ),
            input(9, "`%5C` and `\\`", &[]),
            input(10, "`;a=b`, `/..;/`", &[]),
            input(11, "`%00`, `%0a`, raw controls and spaces", &[]),
            input(12, "`%25`: encoded twice", &[]),
            input(13, "Overlong and invalid escapes: `%zz`, a lone `%`", &[]),
            input(14, "UTF-8 as it is, full-width slashes, names in two normal forms", &[]),
            input(15, "A fragment", &[]),
            input(16, "`?` and escapes in a gRPC path", &[]),
            input(17, "Another case of service or method", &[]),
            input(18, "An absolute target", &[]),
            input(19, "A verb behind a colon", &[]),
            input(20, "65 000 characters", &[]),
            input(
                21,
                "A gRPC path with the content type of REST, and the reverse",
                &["grpc_needs_http2_and_its_content_type"],
            ),
        ],
    },
    Family {
        name: "method",
        title: "Methods",
        inputs: &[
            input(1, "`X-HTTP-Method-Override`, `X-Method-Override`, `X-HTTP-Method`", &[]),
            input(2, "A form that is posted and read as GET", &[]),
            input(
                3,
                "HEAD wherever GET is known",
                &["pages_answer_head_and_the_api_does_not"],
            ),
            input(4, "OPTIONS with credentials", &[]),
            input(5, "GET or DELETE with a body", &[]),
            input(6, "CONNECT, TRACE, lower case, made-up methods", &[]),
            input(7, "`Upgrade`, with another request behind", &[]),
            input(8, "GET of an RPC, as Connect has it", &[]),
        ],
    },
    Family {
        name: "hdr",
        title: "Headers",
        inputs: &[
            input(1, "`authorization` twice, equal or not", &[]),
            input(
                2,
                "Different credentials in `authorization`, the extra header, a cookie and `proxy-authorization`",
                &["two_credentials_must_name_one_subject_and_the_first_travels_on"],
            ),
            input(3, "`Grpc-Metadata-…`, also `-bin`", &[]),
            input(
                4,
                "`X-Amzn-Oidc-*`, `X-Auth-Request-*`, `X-Forwarded-User`, `X-User-Subject`, `X-Remote-*`, with underscores, in any case, with a space behind",
                &[],
            ),
            input(5, "`Connection` that names a protected header", &[]),
            input(
                6,
                "Two content types, lists, charsets, `application/grpc+json`, upper case",
                &[],
            ),
            input(7, "Values beyond ASCII, spaces around them", &[]),
            input(
                8,
                "`X-Forwarded-*` and `Forwarded` from whoever is no trusted hop",
                &["no_client_is_believed_to_be_another_whatever_it_sends"],
            ),
            input(9, "Two hosts, none, or two that disagree", &[]),
            input(10, "A token in the query", &[]),
            input(
                11,
                "`Bearer` in any case, with several spaces, empty, with two words",
                &[],
            ),
            input(12, "The scheme `IDToken`", &[]),
            input(13, "Trailers of a request", &[]),
            input(14, "More than 100 headers, 128 KiB of them", &[]),
        ],
    },
    Family {
        name: "http",
        title: "What the HTTP library lets through",
        inputs: &[
            input(
                1,
                "A target without a slash in front",
                &["t_path_01_a_target_without_a_slash_is_no_request"],
            ),
            input(2, "`*` as a path", &["t_path_02_an_asterisk_is_no_path"]),
            input(
                3,
                "An absolute target with another `Host`",
                &["t_path_18_an_absolute_target_is_refused"],
            ),
            input(
                4,
                "`//`, `..`, `%2e%2e`, `%2F`, `;`, `\\`, `%00`, UTF-8 as it is",
                &[
                    "t_path_03_04_05_empty_segments_are_refused",
                    "t_path_06_07_dot_segments_are_refused_plain_and_encoded",
                    "t_path_08_an_encoded_slash_never_reaches_a_gateway_that_splits_at_it",
                    "t_path_09_to_13_characters_with_a_second_meaning_are_refused",
                    "t_path_14_text_that_is_not_ascii_is_refused",
                ],
            ),
            input(
                5,
                "A fragment, which the library cuts off in silence",
                &["t_path_15_a_fragment_is_neither_judged_nor_forwarded"],
            ),
            input(
                6,
                "NUL, space, tab, 0xFF, quotes in the target",
                &["t_path_11_raw_controls_and_spaces_are_no_request"],
            ),
            input(
                7,
                "Methods in lower case or made up",
                &["t_method_06_other_methods_are_refused"],
            ),
            input(8, "CONNECT", &["t_method_06_other_methods_are_refused"]),
            input(
                9,
                "No host, two, another than `:authority`, user information, odd schemes",
                &[
                    "t_hdr_09_exactly_one_plain_host_is_named",
                    "the_scheme_and_authority_a_client_claims_do_not_go_upstream",
                ],
            ),
            input(
                10,
                "`Content-Length` beside `Transfer-Encoding`: the chunks count, and one length goes upstream",
                &[
                    "what_the_library_accepts_goes_on_in_one_framing",
                    "what_follows_a_body_is_a_request_of_its_own",
                ],
            ),
            input(
                11,
                "`Content-Length` twice, `5, 5`, `+5`: refused, but for two equal ones, of which one goes upstream",
                &[
                    "lengths_that_can_be_read_in_two_ways_are_refused",
                    "what_the_library_accepts_goes_on_in_one_framing",
                ],
            ),
            input(
                12,
                "`Transfer-Encoding: gzip, chunked`, or twice",
                &["lengths_that_can_be_read_in_two_ways_are_refused"],
            ),
            input(
                13,
                "`Transfer-Encoding` in HTTP/1.0, `xchunked`, `chunked, identity`, a space before the colon",
                &["lengths_that_can_be_read_in_two_ways_are_refused"],
            ),
            input(
                14,
                "Lines that end in LF alone, empty lines in front: read, and written anew",
                &["what_the_library_accepts_goes_on_in_one_framing"],
            ),
            input(
                15,
                "Folded lines, NUL or CR in values, empty names",
                &[
                    "header_lines_that_are_none_are_no_request",
                    "http2_heads_that_are_malformed_are_no_request",
                ],
            ),
            input(
                16,
                "Bytes from 0x80 in values",
                &["t_hdr_07_bytes_that_are_no_text_are_never_taken_for_absence"],
            ),
            input(
                17,
                "Names with underscores",
                &["t_hdr_03_04_08_no_header_of_the_client_carries_another_identity_or_origin"],
            ),
            input(
                18,
                "`authorization`, `content-type` or `grpc-encoding` twice",
                &[
                    "t_hdr_01_a_credential_sent_twice_is_refused",
                    "t_hdr_06_content_types_with_two_readings_are_refused",
                    "t_grpc_03_compression_is_what_the_headers_say_or_refused",
                ],
            ),
            input(
                19,
                "`Connection: close, authorization`",
                &["t_hdr_05_connection_names_no_header_to_be_dropped"],
            ),
            input(
                20,
                "`Upgrade: h2c` or `websocket` and a request behind",
                &["t_method_07_what_follows_a_refused_upgrade_is_a_request_of_its_own"],
            ),
            input(
                21,
                "Trailers of a request",
                &["t_hdr_13_trailers_of_a_request_are_dropped"],
            ),
            input(
                22,
                "GET with a body",
                &["t_method_05_a_body_where_none_is_read_is_refused"],
            ),
            input(
                23,
                "101 headers, a header of 500 KB, a target of 66 000 characters",
                &[
                    "t_hdr_14_too_many_or_too_large_headers_are_refused",
                    "headers_beyond_their_number_or_size_are_refused",
                    "t_path_20_a_long_path_is_refused",
                ],
            ),
            input(
                24,
                "A length that is not that of the data",
                &["a_body_that_breaks_off_is_not_forwarded"],
            ),
            input(
                25,
                "Nothing, half a preface of HTTP/2, a preface and silence, half a body",
                &[
                    "silence_and_half_a_preface_end_at_the_deadline",
                    "silent_and_halting_connections_are_closed_at_their_deadline_and_counted",
                    "t_grpc_06_a_body_that_does_not_come_is_not_waited_for",
                ],
            ),
            input(
                26,
                "One byte and silence, half a head, an idle connection",
                &[
                    "a_request_head_that_comes_too_slowly_is_cut_off",
                    "silent_and_halting_connections_are_closed_at_their_deadline_and_counted",
                ],
            ),
        ],
    },
    Family {
        name: "jwt",
        title: "Tokens and keys",
        inputs: &[
            input(1, "HS256 with the public key as PEM, DER or JWK; no algorithm", &[]),
            input(
                2,
                "A thousand key ids that are not known; ids that look like paths, queries or URLs; none with one key and with two; one id of two issuers",
                &["a_storm_of_unknown_keys_costs_at_most_one_fetch_and_a_new_key_is_found"],
            ),
            input(3, "`jku`, `x5u`, `jwk` in the header", &[]),
            input(4, "ES256 on another curve, r or s of 0, high s, DER", &[]),
            input(
                5,
                "RSA below 2048 bits, e = 1, keys for encryption, without `verify`, with another `alg`",
                &[],
            ),
            input(6, "Encrypted, nested, unencoded (`b64: false`), detached", &[]),
            input(
                7,
                "Key sets of 5 MB, of 10 000 keys, slow, redirected, of another type, rotated meanwhile",
                &[],
            ),
            input(
                8,
                "A discovery document of another issuer, a trailing slash, `http`",
                &[],
            ),
            input(
                9,
                "Groups as a string, numbers, nested, 10 000 of them, with commas, empty, look-alikes, kept elsewhere",
                &[],
            ),
            input(10, "An address with two `@`, or one that is not verified", &[]),
            input(11, "`exp` at the edge of the leeway, `iat` and `nbf` ahead", &[]),
            input(12, "A token of another issuer or tenant", &[]),
            input(13, "A token of 1 MiB", &[]),
        ],
    },
    Family {
        name: "token",
        title: "What token libraries let through",
        inputs: &[
            input(
                1,
                "No `iss`, or a number",
                &["the_issuer_must_be_one_string_equal_to_the_configured_one"],
            ),
            input(
                2,
                "A list as `iss`",
                &["the_issuer_must_be_one_string_equal_to_the_configured_one"],
            ),
            input(
                3,
                "No `aud`, or an object",
                &["the_audience_must_be_a_string_or_strings_with_an_accepted_one"],
            ),
            input(4, "`nbf` ahead", &["t_jwt_11_tokens_from_the_future_are_not_valid_yet"]),
            input(
                5,
                "`crit` with what is not known",
                &["t_jwt_06_encrypted_nested_unencoded_and_detached_tokens_are_malformed"],
            ),
            input(
                6,
                "`typ: logout+jwt` and other types",
                &["the_type_of_a_token_must_be_known_and_accepted"],
            ),
            input(
                7,
                "`groups` twice",
                &["duplicate_keys_in_header_or_claims_are_malformed"],
            ),
            input(
                8,
                "`iss` twice, `exp` as text, negative or without end, `alg` twice, padding, spaces, four parts",
                &[
                    "duplicate_keys_in_header_or_claims_are_malformed",
                    "times_of_the_wrong_type_are_invalid_and_never_absent",
                    "base64_that_has_a_second_spelling_is_malformed",
                ],
            ),
        ],
    },
    Family {
        name: "pb",
        title: "Protobuf, in each field that says where a call acts",
        inputs: &[
            input(0, "Changes at random", &[]),
            input(1, "A scalar twice", &[]),
            input(2, "A message twice, which decoders merge", &[]),
            input(3, "Not set, or empty", &[]),
            input(4, "Another wire type, which Go takes for an unknown field", &[]),
            input(5, "No UTF-8", &[]),
            input(6, "Overlong varints", &[]),
            input(7, "A length beyond the end, a cut", &[]),
            input(8, "Depth of 101, of 10 000", &[]),
            input(9, "Groups", &[]),
            input(10, "Unknown fields, also such as the next version has", &[]),
            input(11, "Packed and not", &[]),
            input(12, "Field number 0, and beyond the range", &[]),
            input(13, "Two members of a oneof", &[]),
            input(
                14,
                "Identifiers that disagree: of the execution, its launch plan, templates, nodes",
                &[],
            ),
            input(15, "`flyte://` and native URLs", &[]),
            input(16, "An organization", &[]),
            input(
                17,
                "Projects and domains with slashes, spaces, upper case, NUL, of 10 MB",
                &[],
            ),
            input(18, "Kinds that there are not", &[]),
        ],
    },
    Family {
        name: "grpc",
        title: "gRPC framing",
        inputs: &[
            input(0, "Content types and timeouts", &[]),
            input(
                1,
                "No frame, a short one, a length that is not that of the bytes, bytes behind",
                &[],
            ),
            input(2, "Two messages", &[]),
            input(
                3,
                "The flag for compression without, with another or with two encodings; flag 2",
                &[],
            ),
            input(4, "A gzip bomb, several members, garbage behind, a cut checksum", &[]),
            input(5, "A message above the limit", &[]),
            input(6, "DATA split at every byte", &[]),
            input(7, "The end with the headers", &[]),
            input(
                8,
                "A second message on a stream, for another project",
                &["t_grpc_01_02_anything_but_one_whole_frame_is_refused"],
            ),
            input(9, "Reflection, health, channelz", &[]),
            input(10, "A service or method that there is not", &[]),
            input(11, "No `te`", &[]),
            input(12, "gRPC-Web", &[]),
            input(13, "Answers without a status, not 200, that break off", &[]),
            input(14, "Timeouts that are none", &[]),
        ],
    },
    Family {
        name: "json",
        title: "JSON and queries",
        inputs: &[
            input(1, "A key twice, also deep inside", &[]),
            input(2, "Both spellings of a field", &[]),
            input(3, "Escapes in keys", &[]),
            input(
                4,
                "A BOM, UTF-16, lone surrogates, NaN, comments, trailing commas, two documents",
                &[],
            ),
            input(5, "Another case", &[]),
            input(6, "`null`", &[]),
            input(7, "Depth of 10 000", &[]),
            input(8, "A text where an object belongs", &[]),
            input(9, "An array", &[]),
            input(10, "`Content-Encoding`", &[]),
            input(11, "Path, query and body that disagree", &[]),
            input(
                12,
                "A query key twice, with brackets, semicolons, dots, `+` for a space",
                &[],
            ),
            input(13, "Protobuf on a JSON route", &[]),
            input(14, "Keys of Connect's GET twice", &[]),
        ],
    },
    Family {
        name: "resp",
        title: "Answers",
        inputs: &[
            input(
                1,
                "Lists with what is foreign, in nested names too, with empty pages and tokens",
                &[],
            ),
            input(2, "Compressed, in chunks, split at every byte", &[]),
            input(3, "Messages that are not known or cannot be read", &[]),
            input(4, "Errors that name what is foreign", &[]),
            input(5, "Lengths, tags and messages about the whole", &[]),
            input(6, "Counters and totals", &[]),
            input(7, "HEAD", &[]),
            input(
                8,
                "Redirects, interim answers, no content, cookies",
                &["pages_keep_their_status_redirects_and_cookies"],
            ),
            input(9, "Telling what is forbidden from what is not there", &[]),
        ],
    },
    Family {
        name: "h2",
        title: "HTTP/2",
        inputs: &[input(
            0,
            "Floods: resets by either side, CONTINUATION, PING, SETTINGS, WINDOW_UPDATE, header bombs, windows of 0; very many streams; malformed heads",
            &[
                "more_streams_than_the_limit_wait_their_turn_and_all_are_answered",
                "http2_heads_that_are_malformed_are_no_request",
            ],
        )],
    },
    Family {
        name: "time",
        title: "Slowness",
        inputs: &[input(
            0,
            "Slow handshakes, prefaces, heads and bodies; idle connections; answers that nobody takes",
            &[
                "silence_and_half_a_preface_end_at_the_deadline",
                "silent_and_halting_connections_are_closed_at_their_deadline_and_counted",
                "a_request_head_that_comes_too_slowly_is_cut_off",
                "a_body_that_does_not_come_is_a_refusal_after_its_time",
            ],
        )],
    },
    Family {
        name: "tls",
        title: "TLS",
        inputs: &[input(
            0,
            "Early data, resumed sessions, names that are not served, certificates of another authority, expired or for servers",
            &[
                "a_session_with_a_client_certificate_is_never_resumed_and_takes_no_early_data",
                "only_certificates_of_the_authority_for_clients_and_of_this_time_get_through",
                "where_certificates_are_optional_a_bad_one_is_still_refused",
            ],
        )],
    },
    Family {
        name: "conf",
        title: "Policy files",
        inputs: &[
            input(
                1,
                "A role, a rule or a key twice",
                &["duplicate_keys_are_refused_at_every_level_with_their_line"],
            ),
            input(
                2,
                "An unknown field",
                &["every_mistake_is_reported_at_its_place_with_what_to_write_instead"],
            ),
            input(
                3,
                "An empty list",
                &["every_mistake_is_reported_at_its_place_with_what_to_write_instead"],
            ),
            input(4, "`no`, `on`, `yes`", &[]),
            input(5, "Anchors, aliases and merge keys", &[]),
            input(6, "Two documents", &["ambiguous_and_deceptive_documents_are_refused"]),
            input(7, "Tabs", &["ambiguous_and_deceptive_documents_are_refused"]),
            input(
                8,
                "A BOM, UTF-16, no UTF-8",
                &["ambiguous_and_deceptive_documents_are_refused"],
            ),
            input(
                9,
                "Half a file",
                &[
                    "a_half_written_file_is_no_failure",
                    "a_policy_that_is_only_the_beginning_of_the_one_in_force_counts_late_or_on_request",
                ],
            ),
            input(
                10,
                "A link that is swapped, as the kubelet does",
                &["a_kubernetes_volume_is_reloaded_when_its_link_is_swapped"],
            ),
            input(
                11,
                "Deleted and made again",
                &[
                    "a_file_that_is_away_for_a_moment_lifts_nothing",
                    "a_directory_that_is_removed_and_made_again_is_still_watched",
                    "a_deleted_file_is_a_failure_until_it_is_back",
                ],
            ),
            input(
                12,
                "Without permission, a device, a directory in its place",
                &["everything_that_cannot_be_read_is_a_problem"],
            ),
            input(13, "50 MB", &["everything_that_cannot_be_read_is_a_problem"]),
            input(
                14,
                "Patterns that do not compile or grow without bound",
                &["a_pattern_cannot_slip_out_of_its_anchors_or_grow_without_bound"],
            ),
            input(15, "A storm of changes", &["a_storm_of_changes_is_taken_together"]),
            input(
                16,
                "Changes while requests are under way",
                &[
                    "ten_thousand_requests_during_fifty_policy_swaps_are_each_judged_by_one_version",
                    "requests_always_find_a_policy_while_it_is_replaced_broken_and_removed",
                ],
            ),
        ],
    },
];

/// The ids in the name of a test; a family without a number is the family as a whole.
fn ids(test: &str) -> BTreeSet<(String, u8)> {
    let known = |word: &str| CATALOGUE.iter().any(|family| family.name == word);
    let words: Vec<&str> = test.split('_').collect();
    let mut ids = BTreeSet::new();
    let mut at = 0;
    while words.get(at) == Some(&"t") && words.get(at + 1).is_some_and(|word| known(word)) {
        let family = words[at + 1];
        at += 2;
        let mut last = None;
        let mut numbers = BTreeSet::new();
        while let Some(word) = words.get(at) {
            let number = (word.len() == 2).then(|| word.parse::<u8>().ok()).flatten();
            match (number, *word, last) {
                (Some(number), _, Some(("to", from))) => numbers.extend(from..=number),
                (Some(number), ..) => _ = numbers.insert(number),
                (None, "to" | "and", Some((_, before))) => {
                    // Only between two numbers.
                    if words.get(at + 1).is_none_or(|next| next.parse::<u8>().is_err()) {
                        break;
                    }
                    last = Some((*word, before));
                    at += 1;
                    continue;
                }
                _ => break,
            }
            last = number.map(|number| ("", number));
            at += 1;
        }
        // `t_path_t_json_11_…`: another family follows.
        if numbers.is_empty() {
            numbers.insert(0);
        }
        ids.extend(numbers.into_iter().map(|number| (family.to_owned(), number)));
    }
    ids
}

/// The names of all tests.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, text) in program() {
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some(name) = name {
                if is_test {
                    names.extend(name.split(['(', '<']).next().map(str::to_owned));
                }
                is_test = false;
            }
        }
    }
    names
}

#[test]
fn ids_are_read_from_the_names_of_tests() {
    let of = |test: &str| -> Vec<String> {
        let ids = ids(test).into_iter();
        ids.map(|(family, number)| format!("{family}{number}")).collect()
    };
    assert_eq!(of("t_pb_04_to_07_and_12_bytes"), ["pb4", "pb5", "pb6", "pb7", "pb12"]);
    assert_eq!(of("t_hdr_03_04_08_no_header"), ["hdr3", "hdr4", "hdr8"]);
    assert_eq!(of("t_path_t_json_11_a_changed"), ["json11", "path0"]);
    assert_eq!(of("t_h2_resets_to_the_end"), ["h20"]);
    assert_eq!(of("t_resp_02_and_then"), ["resp2"]);
    assert_eq!(of("a_test"), [""; 0]);
}

#[test]
fn every_input_of_the_catalogue_is_tested_and_the_page_says_by_what() {
    let tests = tests();
    assert!(tests.len() > 900, "only {} tests were found", tests.len());
    let mut by_id: BTreeMap<(String, u8), Vec<&str>> = BTreeMap::new();
    for test in &tests {
        for id in ids(test) {
            by_id.entry(id).or_default().push(test);
        }
    }
    let mut page = "# Catalogue of bad input\n\n\
        What is thrown at the proxy, by number, and the tests that throw it. In each, what is refused reaches nothing behind the proxy and leaves\n\
        a record with its reason; what is not refused arrives with the one meaning that was judged. The threats themselves, by what an attacker\n\
        is after: [SECURITY.md](../SECURITY.md); who is trusted with what: [threat-model.md](threat-model.md).\n\n\
        This page is generated from the names of the tests.\n"
        .to_owned();
    for family in CATALOGUE {
        let upper = family.name.to_uppercase();
        write!(
            page,
            "\n## T-{upper}: {}\n\n| id | input | tests |\n|---|---|---|\n",
            family.title
        )
        .unwrap();
        let numbers: Vec<u8> = family.inputs.iter().map(|input| input.number).collect();
        assert!(numbers.is_sorted(), "T-{upper}");
        let first = u8::from(numbers[0] != 0);
        assert!(
            numbers.iter().copied().eq((first..).take(numbers.len())),
            "T-{upper} leaves out a number"
        );
        for input in family.inputs {
            let id = match input.number {
                0 => format!("T-{upper}"),
                number => format!("T-{upper}-{number:02}"),
            };
            let named = by_id
                .remove(&(family.name.to_owned(), input.number))
                .unwrap_or_default();
            let mut listed: Vec<String> = named.iter().map(|test| format!("`{test}`")).collect();
            for test in input.also {
                assert!(tests.contains(*test), "{id}: there is no test {test}");
                listed.push(format!("`{test}`"));
            }
            assert!(!listed.is_empty(), "{id} is not tested: {}", input.what);
            let mut seen = BTreeSet::new();
            listed.retain(|test| seen.insert(test.clone()));
            writeln!(page, "| {id} | {} | {} |", input.what, listed.join(", ")).unwrap();
        }
    }
    // Of families without a row for all, tests without a number.
    by_id.retain(|(_, number), _| *number > 0);
    assert!(by_id.is_empty(), "tests name ids that the catalogue lacks: {by_id:#?}");
    is_generated("docs/threats.md", &page);
}
