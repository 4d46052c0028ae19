"""Operations that move an image's bytes, or remove them; and putting right what a crash left."""
