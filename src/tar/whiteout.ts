import { StoreError } from '../errors.js'
import { baseOf, bytesToText, parentOf, type ByteString } from '../fs/bytes.js'

/** What the name of an entry says (image-spec, layer: Whiteouts). */
export type NameMeaning =
  | { readonly kind: 'entry' }
  /** Hides what lower layers have at `path`. */
  | { readonly kind: 'whiteout'; readonly path: ByteString }
  /** Hides what lower layers have in `directory`. */
  | { readonly kind: 'opaque'; readonly directory: ByteString }
  /** Where AUFS kept a file of several names: hard links point at it, and it is no part of the tree itself. */
  | { readonly kind: 'pseudo-link'; readonly name: ByteString }
  /** Of AUFS' own housekeeping. */
  | { readonly kind: 'skip' }

const PREFIX = '.wh.'
const META = '.wh..wh.'
const PSEUDO_LINKS = '.wh..wh.plnk/'
export const OPAQUE_NAME = '.wh..wh..opq' as ByteString
const ENTRY = { kind: 'entry' } as const
const SKIP = { kind: 'skip' } as const

/** @param path a clean one */
export function meaningOf(path: ByteString): NameMeaning {
  if (!path.includes(PREFIX)) return ENTRY
  const directory = parentOf(path)
  const name = baseOf(path)
  const pseudoLink = pseudoLinkOf(path)
  if (pseudoLink !== undefined) return { kind: 'pseudo-link', name: pseudoLink }
  if (directory.split('/').some((component) => component.startsWith(META))) return SKIP
  if (directory.split('/').some((component) => component.startsWith(PREFIX))) throw invalid(path)
  if (!name.startsWith(PREFIX)) return ENTRY
  if (name === OPAQUE_NAME) return { kind: 'opaque', directory }
  if (name.startsWith(META)) return SKIP
  const hidden = name.slice(PREFIX.length)
  if (hidden === '' || hidden === '.' || hidden === '..') throw invalid(path)
  return { kind: 'whiteout', path: (directory === '' ? hidden : `${directory}/${hidden}`) as ByteString }
}

/** The name of what AUFS kept at a clean path, if it is one of those. */
export function pseudoLinkOf(path: ByteString): ByteString | undefined {
  if (!path.startsWith(PSEUDO_LINKS)) return undefined
  const name = path.slice(PSEUDO_LINKS.length) as ByteString
  return name.includes('/') ? undefined : name
}

export function whiteoutName(path: ByteString): ByteString {
  const directory = parentOf(path)
  return `${directory === '' ? '' : `${directory}/`}${PREFIX}${baseOf(path)}` as ByteString
}

function invalid(path: ByteString): StoreError {
  return new StoreError(
    'LAYER_INVALID',
    `the layer has an entry with the reserved name ${JSON.stringify(bytesToText(path))}`,
    { path: bytesToText(path) },
  )
}
