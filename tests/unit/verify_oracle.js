// verify_oracle.js - the chain format once more, in another language, as the verifier's second opinion.
// SPDX-License-Identifier: Apache-2.0
//
//   node verify_oracle.js make SEED COUNT     prints an honest trail as the predecessor library wrote it
//   node verify_oracle.js check FILE          prints "good COUNT", or "bad LINE why"
'use strict';
const crypto = require('crypto');
const fs = require('fs');

// RFC 8785 for what JSON.parse gives: sort() compares UTF-16 code units, JSON.stringify prints numbers and text as it must be.
function canonical(value) {
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (Array.isArray(value)) return '[' + value.map(canonical).join(',') + ']';
  return '{' + Object.keys(value).sort().map((k) => JSON.stringify(k) + ':' + canonical(value[k])).join(',') + '}';
}

function sealed(event, prevHash) {
  const payload = prevHash === undefined ? { event } : { event, prevHash };
  return crypto.createHash('sha256').update(canonical(payload), 'utf8').digest('hex');
}

function scopeOf(event) {
  const context = event.context || {};
  return context.tenantId ? 'tenant:' + context.tenantId : 'service:' + (context.sourceService || 'unknown');
}

function make(seed, count) {
  let state = seed >>> 0;
  const below = (n) => { // mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
  const words = ['caf\u00e9', '\u20ac 5', 'tab\there', 'quote"', 'back\\slash', '\ud83d\ude00', '', '\u0001', 'a/b', '\u2028', '\u007f'];
  const numbers = [0, -0, 1, -1, 0.1, 1e21, 1e-7, 5e-324, 1.7976931348623157e308, 9007199254740991, 123456789012, 333333333.3333333];
  const head = {};
  for (let i = 0; i < count; i++) {
    const context = { occurredAt: new Date(1767323045678 + i * 1000).toISOString(), sourceService: 'svc' + below(3) };
    if (below(3) > 0) context.tenantId = 't\u00e9n' + below(4);
    const event = {
      schemaVersion: 1, eventId: 'ev-' + i, action: 'doc.read', outcome: 'SUCCESS', actor: { type: 'user', id: 'u' + below(9), roles: [] },
      context, metadata: { text: words[below(words.length)], n: numbers[below(numbers.length)], z: null, a: [true, {}, below(100)] },
    };
    event.metadata['\ufb33' + words[below(words.length)]] = 1;
    event.metadata['\ud83d\ude00'] = numbers[below(numbers.length)];
    const scope = scopeOf(event);
    const hash = sealed(JSON.parse(JSON.stringify(event)), head[scope]);
    event.integrity = { alg: 'SHA-256', hash };
    if (head[scope] !== undefined) event.integrity.prevHash = head[scope];
    head[scope] = hash;
    const space = below(4) === 0 ? 1 : 0;
    process.stdout.write(JSON.stringify(event, null, space).replace(/\n */g, space ? '  ' : '') + '\n');
  }
}

function check(file) {
  const head = {};
  const lines = fs.readFileSync(file, 'utf8').split('\n').filter((l) => l.length > 0);
  for (let i = 0; i < lines.length; i++) {
    const event = JSON.parse(lines[i]);
    const { alg, hash, prevHash } = event.integrity;
    delete event.integrity;
    const scope = scopeOf(event);
    if (alg !== 'SHA-256' || sealed(event, prevHash) !== hash) return 'bad ' + (i + 1) + ' content';
    if (prevHash !== head[scope]) return 'bad ' + (i + 1) + ' link';
    head[scope] = hash;
  }
  return 'good ' + lines.length;
}

const [verb, first, second] = process.argv.slice(2);
if (verb === 'make') make(Number(first), Number(second));
else process.stdout.write(check(first) + '\n');
