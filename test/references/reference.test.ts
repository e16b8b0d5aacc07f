/** @module-tag unit */
import { describe, expect, it } from 'vitest'
import {
  canonicalText,
  familiarText,
  parseReference,
  storedForm,
  withDefaultTag,
} from '#layerstack/references/reference.js'

const DIGEST = `sha256:${'f'.repeat(64)}`
const LONG = 'a/'.repeat(127) + 'b'

/** As distribution/reference normalizes them: the input, its canonical form and its familiar form. */
const good: readonly [typed: string, canonical: string, familiar: string][] = [
  ['debian', 'docker.io/library/debian:latest', 'debian:latest'],
  ['debian:12', 'docker.io/library/debian:12', 'debian:12'],
  ['library/debian', 'docker.io/library/debian:latest', 'debian:latest'],
  ['docker.io/debian', 'docker.io/library/debian:latest', 'debian:latest'],
  ['docker.io/library/debian', 'docker.io/library/debian:latest', 'debian:latest'],
  ['index.docker.io/debian', 'docker.io/library/debian:latest', 'debian:latest'],
  ['index.docker.io/library/debian', 'docker.io/library/debian:latest', 'debian:latest'],
  ['team/app:1', 'docker.io/team/app:1', 'team/app:1'],
  ['docker.io/team/app:1', 'docker.io/team/app:1', 'team/app:1'],
  ['library/foo/bar', 'docker.io/library/foo/bar:latest', 'library/foo/bar:latest'],
  ['localhost/app', 'localhost/app:latest', 'localhost/app:latest'],
  ['localhost:5000/app', 'localhost:5000/app:latest', 'localhost:5000/app:latest'],
  ['127.0.0.1:5000/app:2', '127.0.0.1:5000/app:2', '127.0.0.1:5000/app:2'],
  ['[::1]:5000/app', '[::1]:5000/app:latest', '[::1]:5000/app:latest'],
  ['registry.example/a/b/c:tag', 'registry.example/a/b/c:tag', 'registry.example/a/b/c:tag'],
  ['Registry/app', 'Registry/app:latest', 'Registry/app:latest'],
  ['a__b/c-d.e--f', 'docker.io/a__b/c-d.e--f:latest', 'a__b/c-d.e--f:latest'],
  [`debian@${DIGEST}`, `docker.io/library/debian@${DIGEST}`, `debian@${DIGEST}`],
  [`debian:12@${DIGEST}`, `docker.io/library/debian:12@${DIGEST}`, `debian:12@${DIGEST}`],
  [`debian:${'t'.repeat(128)}`, `docker.io/library/debian:${'t'.repeat(128)}`, `debian:${'t'.repeat(128)}`],
  [`x.example/${LONG}`, `x.example/${LONG}:latest`, `x.example/${LONG}:latest`],
  ['a'.repeat(63), `docker.io/library/${'a'.repeat(63)}:latest`, `${'a'.repeat(63)}:latest`],
]

const bad: readonly string[] = [
  ...[
    '',
    ':tag',
    '@',
    `@${DIGEST}`,
    'debian@',
    'debian:',
    'debian@sha256:abc',
    'debian@md5:0123',
    'Debian',
    'a/B',
  ],
  ...[
    '-a',
    'a-',
    'a..b',
    'a__-b',
    'a___b',
    '_a',
    'a//b',
    '/a',
    'a/',
    'debian:-x',
    'debian:a b',
    'a b',
    'ü',
    'a\n',
  ],
  ...[
    `debian:${'t'.repeat(129)}`,
    'f'.repeat(64),
    `x.example/${LONG}c`,
    'https://example.com/app',
    'example.com:port/a',
  ],
  ...['registry.example/', '-registry.example/a', 'a@b@c', 'sha256:ab:cd'],
]

describe('a reference', () => {
  it.each(good)('has canonical and familiar forms that parse to it: %s', (typed, canonical, familiar) => {
    const reference = withDefaultTag(parseReference(typed))
    expect(canonicalText(reference)).toBe(canonical)
    expect(familiarText(reference)).toBe(familiar)
    expect(withDefaultTag(parseReference(canonical))).toEqual(reference)
    expect(withDefaultTag(parseReference(familiar))).toEqual(reference)
  })

  it.each(bad)('is refused: %j', (typed) => {
    expect(() => parseReference(typed)).toThrow(expect.objectContaining({ code: 'REFERENCE_INVALID' }))
  })

  it('is stored without its tag if it has a digest', () => {
    expect(familiarText(storedForm(parseReference(`debian:12@${DIGEST}`)))).toBe(`debian@${DIGEST}`)
    expect(familiarText(storedForm(parseReference('debian')))).toBe('debian:latest')
  })
})
