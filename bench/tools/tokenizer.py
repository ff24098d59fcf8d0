"""Writes a tokenizer of single bytes into the folder that is named: for tools that want one, without a download.

Counts of tokens by it mean nothing. The tools are told to count by the server's usage.
"""

import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
tokenizer.decoder = decoders.ByteLevel()
end = "<end>"
alphabet = pre_tokenizers.ByteLevel.alphabet()
tokenizer.train_from_iterator([], trainers.BpeTrainer(initial_alphabet=alphabet, special_tokens=[end]))
PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=end, eos_token=end, pad_token=end).save_pretrained(sys.argv[1])
