"""Does a connection, a login, a delivery cost more when there are more of them?"""
