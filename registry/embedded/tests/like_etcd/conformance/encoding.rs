use anyhow::Result;
use etcd_client::proto::{PbPutRequest, PbPutResponse, PbRangeRequest, PbRangeResponse};
use tonic::{Code, Request};

use super::Scene;
use crate::{
    raw::{Compression, exchange, refusal},
    subject::Release,
};

const RANGE: &str = "/etcdserverpb.KV/Range";
const PUT: &str = "/etcdserverpb.KV/Put";

fn uninstalled(encoding: &str) -> (Code, String) {
    (Code::Unimplemented, format!("grpc: Decompressor is not installed for grpc-encoding {encoding:?}"))
}

pub async fn gzip_is_answered_with_gzip_and_nothing_else_is(scene: &mut Scene) -> Result<()> {
    let value = "x".repeat(10_000);
    scene.put("a", &value).await?;
    let request = || PbRangeRequest { key: scene.key("a").into(), ..Default::default() };
    for compression in [Compression::None, Compression::Accepted, Compression::Sent] {
        let answer =
            exchange::<_, PbRangeResponse>(&scene.channel, RANGE, Request::new(request()), compression).await;
        if scene.release == Release::V3_4 && compression == Compression::Sent {
            assert_eq!(refusal(&answer.unwrap_err()), uninstalled("gzip"), "it is new in 3.5");
            continue;
        }
        let answer = answer?;
        let encoding = answer.metadata().get("grpc-encoding").map(|encoding| encoding.as_bytes().to_vec());
        let expected = (compression == Compression::Sent).then(|| b"gzip".to_vec());
        assert_eq!(encoding, expected, "{compression:?}");
        assert_eq!(answer.get_ref().kvs[0].value, value.as_bytes());
    }
    Ok(())
}

pub async fn a_compressed_message_has_a_size(scene: &mut Scene) -> Result<()> {
    if scene.release == Release::V3_4 {
        return Ok(()); // it takes none: see above
    }
    let request = PbPutRequest { key: b"a".to_vec(), value: vec![b'x'; 64 << 20], ..Default::default() };
    let answer =
        exchange::<_, PbPutResponse>(&scene.channel, PUT, Request::new(request), Compression::Sent).await;
    let (code, text) = refusal(&answer.unwrap_err());
    // How large it is etcd knows because it has unpacked it, however large that is.
    assert_eq!(code, Code::ResourceExhausted);
    assert!(text.starts_with("grpc: received message larger than max ("), "{text}");
    Ok(())
}

pub async fn another_encoding_is_refused(scene: &mut Scene) -> Result<()> {
    let mut request = Request::new(PbRangeRequest { key: b"a".to_vec(), ..Default::default() });
    request.metadata_mut().insert("grpc-encoding", "deflate".parse()?);
    let answer = exchange::<_, PbRangeResponse>(&scene.channel, RANGE, request, Compression::None).await;
    assert_eq!(refusal(&answer.unwrap_err()), uninstalled("deflate"));
    Ok(())
}
