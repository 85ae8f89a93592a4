module tricolor/peers

go 1.27
