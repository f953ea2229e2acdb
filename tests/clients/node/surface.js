// Runs the official client's whole surface for the resources we serve, as its users would, and prints what it saw as JSON.
// node surface.js ORIGIN KEY TARGET
'use strict';

const SparkPost = require('sparkpost');

const [origin, key, target] = process.argv.slice(2);
const client = new SparkPost(key, { origin });
const seen = {};

async function refused(promise) {
  try {
    await promise;
  } catch (error) {
    return { name: error.name, statusCode: error.statusCode, errors: error.errors };
  }
  throw new Error('it was not refused');
}

async function suppressionList() {
  const list = client.suppressionList;
  seen.upsertedOne = await list.upsert({ recipient: 'node.one@example.com', type: 'transactional', description: 'from node' });
  seen.upsertedMany = await list.upsert([
    { recipient: 'node.two@example.com', type: 'non_transactional' },
    { email: 'node+three@example.com', non_transactional: true, transactional: true },
  ]);
  seen.entry = await list.get('node.one@example.com');
  seen.entryWithPlus = await list.get('node+three@example.com');
  seen.listed = await list.list({ types: ['transactional', 'non_transactional'], sources: ['Manually Added'], per_page: 2, cursor: 'initial' });
  const next = seen.listed.links.find((each) => each.rel === 'next');
  seen.listedNext = next ? await client.get({ uri: next.href }) : null;
  seen.deleted = (await list.delete('node.one@example.com')) || null;
  seen.deletedTwice = await refused(list.delete('node.one@example.com'));
  seen.notFound = await refused(list.get('node.one@example.com'));
  seen.malformed = await refused(list.upsert({ recipient: 'nobody', type: 'transactional' }));
}

async function events() {
  seen.found = await client.events.searchMessage({ events: ['bounce', 'delivery'], per_page: 10 });
  seen.foundNext = await client.get({ uri: seen.found.links.next });
  seen.legacy = await client.messageEvents.search({ events: ['bounce', 'delivery'], per_page: 10, page: 2 });
  seen.badSearch = await refused(client.events.searchMessage({ per_page: 100000 }));
}

async function metrics() {
  const qs = { from: new Date(Date.now() - 23 * 3600 * 1000).toISOString().slice(0, 16), metrics: 'count_injected,count_delivered,count_bounce' };
  seen.summary = await client.get({ uri: 'metrics/deliverability', qs });
  seen.byDomain = await client.get({ uri: 'metrics/deliverability/domain', qs: { ...qs, limit: 3, order_by: 'count_injected' } });
  seen.noFrom = await refused(client.get({ uri: 'metrics/deliverability', qs: { metrics: 'count_sent' } }));
}

async function webhooks() {
  const hooks = client.webhooks;
  seen.created = await hooks.create({ name: 'from node', target, events: ['delivery', 'bounce'] });
  const { id } = seen.created.results;
  seen.webhook = await hooks.get(id, { timezone: 'America/New_York' });
  seen.updated = await hooks.update(id, { name: 'renamed', active: false });
  seen.renamed = await hooks.get(id);
  seen.webhooks = await hooks.list({ timezone: 'UTC' });
  seen.validated = await hooks.validate(id, { message: { msys: {} } });
  seen.batchStatus = await hooks.getBatchStatus(id, { limit: 10 });
  seen.documentation = await hooks.getDocumentation();
  seen.samples = await hooks.getSamples({ events: ['bounce', 'open'] });
  seen.webhookDeleted = (await hooks.delete(id)) || null;
  seen.webhookGone = await refused(hooks.get(id));
}

async function all() {
  for (const part of [suppressionList, events, metrics, webhooks]) {
    await part();
  }
  seen.unauthorized = await refused(new SparkPost('wrong', { origin }).suppressionList.list({}));
  process.stdout.write(JSON.stringify(seen));
}

all().catch((error) => {
  process.stderr.write(`${error.stack}\n${JSON.stringify(error.errors)}\nseen: ${Object.keys(seen)}\n`);
  process.exit(1);
});
