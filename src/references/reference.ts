import { isDigest, type Digest } from '../digest.js'
import { StoreError } from '../errors.js'

/**
 * `name[:tag][@digest]`, normalised like Docker (distribution/reference). The first component is a domain if it
 * contains a `.` or a `:`, is `localhost`, or has an upper-case letter. Otherwise the name is on Docker Hub, under
 * `library/` if it has only one component.
 */
export interface Reference {
  /** For example `docker.io`, `registry.example:5000`. */
  readonly domain: string
  /** For example `library/debian`, `team/app`. */
  readonly path: string
  readonly tag?: string
  readonly digest?: Digest
}

const DEFAULT_TAG = 'latest'
const DEFAULT_DOMAIN = 'docker.io'
const LEGACY_DEFAULT_DOMAIN = 'index.docker.io'
const OFFICIAL = 'library/'
const MAX_NAME = 255

const TAG = /^\w[\w.-]{0,127}$/
const PATH_COMPONENT = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/
const DOMAIN =
  /^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?$/
const HEX64 = /^[a-f0-9]{64}$/

/** Parses a reference as users type it. Throws `REFERENCE_INVALID`. */
export function parseReference(text: string): Reference {
  if (HEX64.test(text)) throw invalid(text, 'a name of 64 hex digits would look like an image ID')
  const at = text.indexOf('@')
  const digest = at < 0 ? undefined : text.slice(at + 1)
  if (digest !== undefined && !isDigest(digest))
    throw invalid(text, 'the digest must be sha256: followed by 64 hex digits')

  const named = at < 0 ? text : text.slice(0, at)
  const colon = named.lastIndexOf(':')
  const tagged = colon > named.lastIndexOf('/')
  const tag = tagged ? named.slice(colon + 1) : undefined
  if (tag !== undefined && !TAG.test(tag))
    throw invalid(text, `the tag ${JSON.stringify(tag)} must match [\\w][\\w.-]{0,127}`)

  const { domain, path } = splitDomain(tagged ? named.slice(0, colon) : named)
  if (!DOMAIN.test(domain)) throw invalid(text, `the domain ${JSON.stringify(domain)} is malformed`)
  if (path !== path.toLowerCase()) throw invalid(text, 'a repository name must be lower-case')
  if (!path.split('/').every((component) => PATH_COMPONENT.test(component))) {
    throw invalid(text, `the path ${JSON.stringify(path)} is malformed`)
  }
  if (path.length > MAX_NAME) throw invalid(text, `the path is longer than ${MAX_NAME} characters`)
  return { domain, path, ...(tag !== undefined && { tag }), ...(digest !== undefined && { digest }) }
}

export function isReference(text: string): boolean {
  try {
    parseReference(text)
    return true
  } catch {
    return false
  }
}

/** Adds the default tag if the reference has neither tag nor digest. */
export function withDefaultTag(reference: Reference): Reference {
  return reference.tag === undefined && reference.digest === undefined
    ? { ...reference, tag: DEFAULT_TAG }
    : reference
}

/**
 * Returns the form in `repositories.json`. A reference with a digest is stored under the digest alone, without its tag.
 */
export function storedForm(reference: Reference): Reference {
  const { domain, path, digest } = withDefaultTag(reference)
  return digest === undefined ? withDefaultTag(reference) : { domain, path, digest }
}

/** The short name that users see: `debian`, `team/app`, `registry.example:5000/app`. */
export function familiarName({ domain, path }: Reference): string {
  if (domain !== DEFAULT_DOMAIN) return `${domain}/${path}`
  return path.startsWith(OFFICIAL) && !path.slice(OFFICIAL.length).includes('/')
    ? path.slice(OFFICIAL.length)
    : path
}

/** The short name with tag or digest: `debian:12`. */
export function familiarText(reference: Reference): string {
  return familiarName(reference) + suffix(reference)
}

/** The full, unambiguous form: `docker.io/library/debian:12`. */
export function canonicalText(reference: Reference): string {
  return `${reference.domain}/${reference.path}${suffix(reference)}`
}

function suffix({ tag, digest }: Reference): string {
  return (tag === undefined ? '' : `:${tag}`) + (digest === undefined ? '' : `@${digest}`)
}

function splitDomain(name: string): { domain: string; path: string } {
  const slash = name.indexOf('/')
  const first = slash < 0 ? '' : name.slice(0, slash)
  const isDomain = /[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase()
  const domain = isDomain && first !== LEGACY_DEFAULT_DOMAIN ? first : DEFAULT_DOMAIN
  const path = isDomain ? name.slice(slash + 1) : name
  return { domain, path: domain === DEFAULT_DOMAIN && !path.includes('/') ? OFFICIAL + path : path }
}

function invalid(text: string, why: string): StoreError {
  return new StoreError('REFERENCE_INVALID', `invalid reference ${JSON.stringify(text)}: ${why}`, {
    hint: 'a reference is name[:tag][@sha256:…], as in "debian:12" or "registry.example:5000/team/app:1.0"',
  })
}
