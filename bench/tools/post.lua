-- The request that wrk sends: the body is the file that FAKEAI_BODY names.
local file = assert(io.open(os.getenv("FAKEAI_BODY"), "rb"))
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.body = file:read("*a")
file:close()
