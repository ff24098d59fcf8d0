module fakeai/clients

go 1.24

require github.com/quic-go/quic-go v0.59.0
