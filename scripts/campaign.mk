.PHONY: campaign

# make campaign [FUZZ_SECONDS=600]: random input for what reads a client's bytes, for so many seconds
campaign:
	@scripts/install-packages campaign
	@scripts/campaign build
	@scripts/campaign run "$${FUZZ_SECONDS:-600}" build/fuzz
