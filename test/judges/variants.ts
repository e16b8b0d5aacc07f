import { openStore, type Store } from '#layerstack/index.js'

/** A driver and its engine. Each test that compares with a judge runs on every variant. */
export interface Variant {
  readonly name: string
  readonly driver: 'vfs' | 'overlay2'
  readonly engine: 'kernel' | 'userspace'
}

export const variants: readonly Variant[] = [
  { name: 'vfs', driver: 'vfs', engine: 'userspace' },
  { name: 'overlay2, userspace', driver: 'overlay2', engine: 'userspace' },
  { name: 'overlay2, kernel', driver: 'overlay2', engine: 'kernel' },
]

export function openVariant({ driver, engine }: Variant, root: string): Promise<Store> {
  return openStore({ root, driver, engine })
}
