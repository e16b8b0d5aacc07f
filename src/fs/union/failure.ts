import { systemError } from '../../sys/errno.js'
import { bytesToText, type ByteString } from '../bytes.js'

/** What a union finds out without asking the host, in the shape of what the host would say. Paths are the union's own. */
export function failure(code: string, syscall: string, path: ByteString): NodeJS.ErrnoException {
  return systemError(code, syscall, `/${bytesToText(path)}`)
}
