mod door;

pub fn requests(input: &[u8]) {
    door::checks::requests(input);
}

pub fn answers(input: &[u8]) {
    door::checks::answers(input);
}

pub fn chunks(input: &[u8]) {
    door::checks::chunks(input);
}
