package ledger

func childMain() {}
