"""Who may do what: the guard of repositories, the rules of the operator, the login of administrators."""
