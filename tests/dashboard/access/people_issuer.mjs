// An OpenID Connect issuer whose people sign in to the dashboard, for test_issuer.py: node people_issuer.mjs LIBRARY PORT CALLBACK
const [library, port, callback] = process.argv.slice(2)
const { default: Provider } = await import(library)
const groups = { ada: ['ml-team', 'others'], bob: ['others'] }
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'dashboard', client_secret: 'a secret/with+signs', redirect_uris: [callback],
    response_types: ['code'], grant_types: ['authorization_code'],
  }],
  cookies: { keys: ['only for tests'] },
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['groups'] },
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.org`, email_verified: id === 'ada', groups: groups[id] ?? [] }),
  }),
})
provider.listen(Number(port), '127.0.0.1', () => console.log('listening'))
