//! What the port serves: gRPC over HTTP/2, JSON over HTTP/1.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use tonic::{
    body::Body,
    codegen::{
        BoxFuture, Service,
        http::{Request, Version},
    },
};

use crate::{
    json::{Answer, JsonGateway},
    service::Api,
};

#[derive(Clone, Debug)]
pub(crate) struct Front {
    pub api: Api,
    pub json: JsonGateway,
}

impl Service<Request<Body>> for Front {
    type Response = Answer;
    type Error = Infallible;
    type Future = BoxFuture<Answer, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.api.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.version() == Version::HTTP_2 {
            return self.api.call(request);
        }
        let json = self.json.clone();
        Box::pin(async move { Ok(json.answer(request).await) })
    }
}
