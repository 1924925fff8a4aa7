// An OpenID Connect issuer with one client, for test_oidc_provider.py: node oidc_provider.mjs LIBRARY PORT KEYS
import { readFileSync } from 'node:fs'

const [library, port, keys] = process.argv.slice(2)
const { default: Provider } = await import(library)
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'shop', client_secret: 'secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
  }],
  jwks: JSON.parse(readFileSync(keys, 'utf8')),
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => 'urn:headway',
      getResourceServerInfo: () => ({
        scope: 'predict label', audience: 'headway', accessTokenTTL: 600, accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
})
provider.listen(Number(port), '127.0.0.1', () => console.log('listening'))
