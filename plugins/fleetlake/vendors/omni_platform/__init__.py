"""OMNI Platform (3DiVi): events and reference data by GraphQL, errors inside an HTTP 200, faces and names in the answers."""
