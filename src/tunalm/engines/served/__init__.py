"""Models served on this machine by programs that end with this process (vLLM, SGLang, llama.cpp).

settings --> commands --> children: start, wait until they answer, end
requests --> token ids of this machine's templates --> endpoint engine --> the children's addresses
"""
