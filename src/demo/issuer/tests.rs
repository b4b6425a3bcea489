//! The issuer as a client sees it.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn post(issuer: &DemoIssuer, headers: &str, body: &str) -> (u16, Value) {
    let address = issuer.url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /token HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn a_client_logs_in_by_header_or_form_and_gets_its_claims() {
    let issuer = DemoIssuer::start().await.unwrap();
    issuer.add_client("robot", "s3 cret&", json!({"groups": ["ml"]}));
    let basic = format!("authorization: Basic {}\r\n", STANDARD.encode("robot:s3+cret%26"));
    let form = "grant_type=client_credentials&client_id=robot&client_secret=s3%20cret%26&scope=all";
    for (headers, body) in [(basic.as_str(), "grant_type=client_credentials"), ("", form)] {
        let (status, answer) = post(&issuer, headers, body).await;
        assert_eq!((status, answer.get("token_type")), (200, Some(&json!("Bearer"))));
        let token = answer.get("access_token").and_then(Value::as_str).unwrap();
        let claims = token.split('.').nth(1).unwrap();
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims.get("groups"), Some(&json!(["ml"])));
        assert_eq!(claims.get("sub"), Some(&json!("robot")));
        assert_eq!(claims.get("iss"), Some(&json!(issuer.url())));
    }
    assert_eq!(issuer.fetches().token, 2);
}

#[tokio::test]
async fn a_wrong_secret_or_grant_gets_no_token() {
    let issuer = DemoIssuer::start().await.unwrap();
    issuer.add_client("robot", "secret", Value::Null);
    let wrong = "grant_type=client_credentials&client_id=robot&client_secret=other";
    assert_eq!(
        post(&issuer, "", wrong).await,
        (401, json!({"error": "invalid_client"}))
    );
    assert_eq!(post(&issuer, "", "grant_type=client_credentials").await.0, 401);
    assert_eq!(post(&issuer, "", "grant_type=password&client_id=robot").await.0, 400);
}
