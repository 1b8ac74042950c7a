#[path = "../../proxy/src/gateway/grammar/mod.rs"]
mod grammar;
#[path = "../../proxy/src/gateway/grammar_checks/mod.rs"]
mod grammar_checks;

pub fn requests(input: &[u8]) {
    grammar_checks::requests(input);
}

pub fn answers(input: &[u8]) {
    grammar_checks::answers(input);
}

pub fn chunks(input: &[u8]) {
    grammar_checks::chunks(input);
}
