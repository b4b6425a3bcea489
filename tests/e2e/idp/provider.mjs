// An identity provider on loopback: oidc-provider with three kinds of clients and two people who need no password.
//
// Prints one line of JSON, {"issuer": "http://localhost:PORT"}, and stays until its standard input ends. What a test asks:
//   POST /__rotate            signs with new keys from now on; those before stay published
//   PUT  /__redirect          {"client_id": "...", "redirect_uri": "..."}
//   PUT  /__lifetime          {"id_token": SECONDS}
//   GET  /__counters          {"jwks": n}
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// Packages are installed in the working directory, not beside this file.
const installed = createRequire(`${process.cwd()}/`).resolve('oidc-provider');
const { Provider } = await import(pathToFileURL(installed));

const API = 'urn:flyte:api';
const AUDIENCE = 'flyte';
const PEOPLE = {
  alice: { email: 'alice@example.com', name: 'Alice', groups: ['ml-platform'] },
  bob: { email: 'bob@example.com', name: 'Bob', groups: ['fraud-detection'] },
};
// What machines are members of, by client.
const MACHINES = { ci: ['ml-platform'], 'ci-es256': ['ml-platform'], 'ci-opaque': ['ml-platform'] };

const machine = (client_id) => ({
  client_id,
  client_secret: `${client_id}-secret`,
  grant_types: ['client_credentials'],
  response_types: [],
  redirect_uris: [],
});
const clients = [
  {
    client_id: 'flytectl',
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code', 'refresh_token'],
    redirect_uris: ['http://localhost:53593/callback'],
  },
  {
    client_id: 'flyte-console',
    client_secret: 'flyte-console-secret',
    grant_types: ['authorization_code', 'refresh_token'],
    redirect_uris: ['https://localhost/callback'],
  },
  ...Object.keys(MACHINES).map(machine),
];
const lifetime = { id_token: 3600 };
const counters = { jwks: 0 };

let generation = 0;
function newKeys() {
  generation += 1;
  const key = (pair, alg) => ({
    ...pair.privateKey.export({ format: 'jwk' }),
    kid: `${alg.toLowerCase()}-${generation}`,
    use: 'sig',
    alg,
  });
  return [
    key(generateKeyPairSync('rsa', { modulusLength: 2048 }), 'RS256'),
    key(generateKeyPairSync('ec', { namedCurve: 'P-256' }), 'ES256'),
  ];
}

function configuration(keys) {
  return {
    jwks: { keys },
    clients,
    cookies: { keys: ['only for tests'] },
    pkce: { required: (_, client) => client.clientAuthMethod === 'none' },
    // Claims of scopes are put into the ID token, not only into the answer of the userinfo endpoint.
    conformIdTokenClaims: false,
    claims: { openid: ['sub'], profile: ['name'], email: ['email'], groups: ['groups'] },
    scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
    findAccount: (_, id) => PEOPLE[id] && { accountId: id, claims: () => ({ sub: id, ...PEOPLE[id] }) },
    extraTokenClaims: (_, token) => ({ groups: PEOPLE[token.accountId]?.groups ?? MACHINES[token.clientId] }),
    issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    // What a client may ask for, everybody has agreed to.
    async loadExistingGrant({ oidc }) {
      const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
      grant.addOIDCScope('openid offline_access profile email groups');
      grant.addResourceScope(API, 'all');
      await grant.save();
      return grant;
    },
    ttl: { IdToken: () => lifetime.id_token, AccessToken: 3600, ClientCredentials: 3600, RefreshToken: 3600,
      Interaction: 600, Session: 3600, Grant: 3600 },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        // Access tokens are for the API without being asked, except for one client, whose are opaque.
        defaultResource: (_, client) => (client.clientId === 'ci-opaque' ? undefined : API),
        useGrantedResource: () => true,
        getResourceServerInfo: (_, resource, client) => ({
          audience: AUDIENCE,
          scope: 'all',
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: client.clientId === 'ci-es256' ? 'ES256' : 'RS256' } },
        }),
      },
    },
  };
}

const server = createServer();
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://localhost:${server.address().port}`;

let keys = newKeys();
let provider;
// What the provider has stored is kept in memory by its module and survives.
function renew() {
  provider = new Provider(issuer, configuration(keys));
}
renew();

async function read(request) {
  const chunks = await request.toArray();
  return Buffer.concat(chunks).toString();
}

const escaped = (text) => text.replace(/[&<>"]/g, (character) => `&#${character.codePointAt(0)};`);

async function logIn(request, response) {
  const { uid, params, prompt } = await provider.interactionDetails(request, response);
  if (prompt.name === 'consent') {
    // Clients without a secret have to ask every time (RFC 8252 section 8.6); everybody agrees.
    await provider.interactionFinished(request, response, { consent: {} }, { mergeWithLastSubmission: true });
    return;
  }
  if (request.method === 'POST') {
    const accountId = new URLSearchParams(await read(request)).get('user');
    await provider.interactionFinished(request, response, { login: { accountId } });
    return;
  }
  response.setHeader('content-type', 'text/html; charset=utf-8');
  response.end(`<!doctype html><title>Sign in</title>
<h1>Sign in to ${escaped(params.client_id)}</h1>
<form method="post" action="/interaction/${uid}">
  <label>User <input name="user" autofocus></label>
  <button>Sign in</button>
</form>`);
}

const asked = {
  async 'POST /__rotate'() {
    keys = [...newKeys(), ...keys];
    renew();
  },
  async 'PUT /__redirect'(body) {
    const { client_id, redirect_uri } = JSON.parse(body);
    clients.find((client) => client.client_id === client_id).redirect_uris = [redirect_uri];
    renew();
  },
  async 'PUT /__lifetime'(body) {
    Object.assign(lifetime, JSON.parse(body));
  },
  async 'GET /__counters'() {
    return counters;
  },
};

server.on('request', async (request, response) => {
  const { pathname } = new URL(request.url, issuer);
  try {
    const ask = asked[`${request.method} ${pathname}`];
    if (ask) {
      response.end(JSON.stringify((await ask(await read(request))) ?? {}));
    } else if (pathname.startsWith('/interaction/')) {
      await logIn(request, response);
    } else {
      if (pathname === '/jwks') counters.jwks += 1;
      provider.callback()(request, response);
    }
  } catch (error) {
    response.statusCode = 500;
    response.end(String(error?.stack ?? error));
  }
});

process.stdin.resume().on('end', () => process.exit(0));
console.log(JSON.stringify({ issuer }));
