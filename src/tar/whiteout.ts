import { StoreError } from '../errors.js'
import { baseOf, bytesToText, parentOf, type ByteString } from '../fs/bytes.js'

/** The meaning of an entry's name (image-spec, layer: Whiteouts). */
export type NameMeaning =
  | { readonly kind: 'entry' }
  /** Hides what lower layers have at `path`. */
  | { readonly kind: 'whiteout'; readonly path: ByteString }
  /** Hides what lower layers have in `directory`. */
  | { readonly kind: 'opaque'; readonly directory: ByteString }
  /** AUFS's storage for a file with several names. Hard links point to it, but it is not part of the tree. */
  | { readonly kind: 'pseudo-link'; readonly name: ByteString }
  /** AUFS housekeeping. */
  | { readonly kind: 'skip' }

const PREFIX = '.wh.'
const META = '.wh..wh.'
const PSEUDO_LINKS = '.wh..wh.plnk/'
export const OPAQUE_NAME = '.wh..wh..opq' as ByteString
const ENTRY = { kind: 'entry' } as const
const SKIP = { kind: 'skip' } as const

/**
 * Throws `LAYER_INVALID` for a reserved name that means nothing.
 * @param path a clean path
 */
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

/** Returns the name of the AUFS pseudo-link at a clean path, if there is one. */
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
