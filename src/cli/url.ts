// Where the command line looks for the store when nobody says where it is.

/** A file below the current folder: nothing to install or to start. Its folder is made when it is first opened. */
export const DEFAULT_URL = 'sqlite:./.deferq/deferq.db'
